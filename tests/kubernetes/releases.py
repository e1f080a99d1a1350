"""The releases that are rendered and checked: both modes, and every option on and off."""

from typing import Any, Final

Values = dict[str, Any]

URL: Final = "postgresql://archiver:a-secret-password@db/archiver"
TOKEN: Final = "an-admin-token-0123"
STORAGE: Final = {"type": "aws", "bucket": "meetings", "region": "eu-central-1", "secret": "a-storage-secret"}

MODES: Final[dict[str, Values]] = {
    "single": {"mode": "single"},
    "scaled": {"mode": "scaled", "secrets": {"database_url": URL}},
}
OPTIONS: Final[dict[str, Values]] = {
    "settings": {"settings": {"reconcile_minutes": 0.5, "kinds": ["video", "chat"], "drain_seconds": 90}},
    "ports": {"settings": {"port": 8000, "admin_port": 9000}},
    "secrets": {"secrets": {"storage_config": STORAGE, "admin_token": TOKEN, "api_key": "an-api-key"}},
    "existing secret": {"existingSecret": "calls"},
    "files": {
        "files": {
            "routing_file": {"content": {"storages": {"main": STORAGE}, "rules": [{"to": "main"}]}},
            "apps_file": {"existingSecret": "apps", "key": "apps.json"},
        }
    },
    "database secret": {"database": {"existingSecret": "calls-db-app", "key": "uri"}},
    "volume": {"single": {"persistence": {"existingClaim": "calls"}}},
    "storage class": {"single": {"persistence": {"storageClass": "fast"}}},
    "receivers by CPU": {"receivers": {"autoscaling": {"enabled": True}}},
    "workers by CPU": {"workers": {"autoscaling": {"type": "hpa"}}},
    "workers by backlog": {
        "workers": {"autoscaling": {"type": "keda", "prometheusAddress": "http://prometheus:9090"}}
    },
    "ingress": {
        "host": "archiver.example.com",
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
    },
    "gateway": {
        "host": "archiver.example.com",
        "gateway": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]},
    },
    "service": {"service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a": "b"}}},
    "no service account": {"serviceAccount": {"create": False}},
    "identity": {
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/archiver"}},
        "podLabels": {"azure.workload.identity/use": "true"},
        "podAnnotations": {"a": "b"},
    },
    "placement": {
        "priorityClassName": "high",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "more of the pod": {
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    },
    "no network policy": {"networkPolicy": {"enabled": False}},
    "network policy": {
        "networkPolicy": {
            "publicFrom": [{"namespaceSelector": {}}],
            "adminFrom": [],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [{"port": 80}]}],
        }
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "names": {"nameOverride": "archiver", "fullnameOverride": "the-archiver"},
}


def merged(*every: Values) -> Values:
    """Values over values, as Helm merges them."""
    result: Values = {}
    for values in every:
        for name, value in values.items():
            known = result.get(name)
            if isinstance(value, dict) and isinstance(known, dict):
                result[name] = merged(known, value)
            else:
                result[name] = value
    return result


def _matrix() -> dict[str, Values]:
    releases = {}
    for mode, values in MODES.items():
        releases[f"{mode}, nothing else"] = values
        everything = [option for name, option in OPTIONS.items() if name != "names"]
        releases[f"{mode}, everything"] = merged(*everything, values)
        for name, option in OPTIONS.items():
            releases[f"{mode}, {name}"] = merged(option, values)
            rest = [each for other, each in OPTIONS.items() if other not in {name, "names"}]
            releases[f"{mode}, everything but {name}"] = merged(*rest, values)
    return releases


MATRIX: Final = _matrix()
"""Every release by what is told of it."""
