"""Real Jaeger, Tempo and OpenTelemetry Collector for the integration tests."""
