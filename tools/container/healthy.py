"""HEALTHCHECK of the Dockerfile: exit code 0 if the app in this container responds.

urllib is not used, because it would send the request to 127.0.0.1 through a configured proxy.
"""

import http.client
import os


def main() -> int:
    port = int(os.environ.get("STREAMLIT_SERVER_PORT", "8501"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/_stcore/health")
        return int(connection.getresponse().status != http.client.OK)
    except OSError:
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
