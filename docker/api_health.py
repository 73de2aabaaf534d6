"""Exit 0 while the API of this container answers on the port that is the only argument."""

import sys
from http.client import HTTPConnection

api = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=3)
api.request("GET", "/healthz")
sys.exit(api.getresponse().status != 200)
