"""Checks a compose file against the Compose Specification, and that its services are as tight as they should be."""

import re
import sys

import compose_spec
import yaml

text = open(sys.argv[1], encoding="utf-8").read()
# Variables are the operator's: any folder will do here.
text = re.sub(r"\$\{\w+:\?[^}]*\}", "/srv/event", text)
# Anchors and merge keys are YAML's, not the specification's.
spec = yaml.safe_load(text)
spec = {key: value for key, value in spec.items() if not key.startswith("x-")}
compose_spec.PyCompose.from_yaml(yaml.safe_dump(spec, sort_keys=False)).validate()

folders = set()
for name, service in spec["services"].items():
    assert service["user"] == "65532:65532", f"{name}: runs as {service['user']}"
    assert service["read_only"] and service["cap_drop"] == ["ALL"], f"{name}: not tight"
    assert service["security_opt"] == ["no-new-privileges:true"], f"{name}: may gain privileges"
    assert service["healthcheck"]["test"][1:4] == service["command"], f"{name}: another's health is checked"
    restarts = service["deploy"]["restart_policy"]
    assert restarts["condition"] == "on-failure" and restarts["max_attempts"] <= 5, f"{name}: bad configuration is tried for ever"
    assert any(one.startswith("/tmp:") for one in service["tmpfs"]), f"{name}: SQLite has no place to sort in"
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        assert source not in folders, f"{name}: mounts {source}, which is another party's"
        folders.add(source)
    for port in service["ports"]:
        assert port.startswith("127.0.0.1:"), f"{name}: publishes {port} beyond loopback"
