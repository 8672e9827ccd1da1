"""Events, runs and their fold: pure values, no files, no OpenTelemetry."""
