"""OpenMined PSI between two sets of keys, one a line: CPU seconds of both sides, and how many keys both have."""

import json
import sys
import time

import private_set_intersection.python as psi


def keys(path):
    with open(path, encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


people, listed = (keys(path) for path in sys.argv[1:])
began = time.process_time()
client = psi.client.CreateWithNewKey(True)
server = psi.server.CreateWithNewKey(True)
setup = server.CreateSetupMessage(1e-9, len(people), listed, psi.DataStructure.RAW)
request = client.CreateRequest(people)
response = server.ProcessRequest(request)
found = client.GetIntersection(setup, response)
used = time.process_time() - began
print(json.dumps({"cpu_seconds": used, "keys": len(people) + len(listed), "found": len(found)}))
