"""Print a line a second for as long as the argument says: something to watch while it runs."""

import sys
import time

seconds = float(sys.argv[1])
end = time.monotonic() + seconds
while (left := end - time.monotonic()) > 0:
    print(f"{left:.0f} s left", flush=True)
    time.sleep(min(1.0, left))
print("done")
