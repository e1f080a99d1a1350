"""What each store behind the S3 API needs and has: a row each, with where its documentation says so.

Only what is documented is entered. Where it is not, the careful way stands: no checksum that a store could
refuse, and a name is looked at just before it is taken.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Addressing = Literal["path", "virtual"]
Check = Literal["crc64nvme", "md5", "none"]


@dataclass(frozen=True, slots=True)
class Store:
    """A row.

    ``endpoint`` is a template, empty where the SDK knows the address from the region. ``hosts`` finds the
    store's own hosts, with their ``region`` as a group where they tell it. ``region`` is what requests are
    signed for, empty where it is the bucket's. ``encryptions``, ``storage_classes`` and ``lacks`` say which
    object attributes it has: an attribute that it would ignore or refuse is a fault of the config.
    """

    name: str
    sources: tuple[str, ...]
    endpoint: str = ""
    hosts: str = ""
    region: str = ""
    addressing: Addressing = "path"
    check: Check = "none"
    conditional_writes: bool = False
    encryptions: frozenset[str] = frozenset({"AES256", "aws:kms"})
    storage_classes: frozenset[str] = frozenset()  # empty: whatever the store itself takes
    lacks: frozenset[str] = frozenset()


AWS = Store(
    "AWS",
    sources=(
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html",
    ),
    hosts=(
        r"(^|\.)s3(-fips)?[.-](dualstack\.)?(?P<region>[a-z]+(-[a-z]+)+-\d+)(\.vpce)?"
        r"\.amazonaws\.(com(\.cn)?|eu)$"
    ),
    addressing="virtual",
    check="crc64nvme",
    conditional_writes=True,
    storage_classes=frozenset({"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"})
    | frozenset({"GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}),
)
SPACES = Store(
    "DigitalOcean Spaces",
    sources=(
        # SSE-C and tags; what is not listed answers NotImplemented; conditional writes are not.
        "https://docs.digitalocean.com/products/spaces/reference/s3-compatibility/",
        "https://docs.digitalocean.com/reference/api/spaces-api/",
        # Subdomain addressing, the region in the endpoint.
        "https://docs.digitalocean.com/products/spaces/how-to/use-aws-sdks/",
    ),
    endpoint="https://{region}.digitaloceanspaces.com",
    hosts=r"^(?P<region>[a-z]+\d+)\.digitaloceanspaces\.com$",
    addressing="virtual",
    encryptions=frozenset(),
    lacks=frozenset({"storage_class", "object_lock", "legal_hold"}),
)
R2 = Store(
    "Cloudflare R2",
    sources=(
        # PutObject and CompleteMultipartUpload take If-None-Match.
        "https://developers.cloudflare.com/r2/api/s3/conditional-operations/",
        # CRC-64/NVME as FULL_OBJECT; region auto; two classes; no SSE, tagging or Object Lock headers.
        "https://developers.cloudflare.com/r2/api/s3/api/",
    ),
    endpoint="https://{account_id}.r2.cloudflarestorage.com",
    hosts=r"^[0-9a-z]+(\.(eu|fedramp))?\.r2\.cloudflarestorage\.com$",
    region="auto",
    check="crc64nvme",
    conditional_writes=True,
    encryptions=frozenset(),
    storage_classes=frozenset({"STANDARD", "STANDARD_IA"}),
    lacks=frozenset({"tags", "object_lock", "legal_hold"}),
)
GCS = Store(
    "Google Cloud Storage by HMAC key",
    sources=(
        "https://cloud.google.com/storage/docs/aws-simple-migration",
        # Content-MD5 is verified on every part. If-None-Match is not among what a complete takes.
        "https://cloud.google.com/storage/docs/xml-api/put-object-multipart",
        "https://cloud.google.com/storage/docs/xml-api/post-object-complete",
    ),
    endpoint="https://storage.googleapis.com",
    hosts=r"^storage\.googleapis\.com$",
    region="auto",
    check="md5",
    encryptions=frozenset(),
    lacks=frozenset({"storage_class", "tags", "object_lock", "legal_hold"}),
)
B2 = Store(
    "Backblaze B2",
    sources=(
        # What a PutObject takes: SSE-B2 as AES256 and Object Lock, but no If-None-Match, tags or classes.
        "https://www.backblaze.com/apidocs/s3-put-object",
        "https://www.backblaze.com/docs/cloud-storage-s3-compatible-api",
    ),
    hosts=r"^s3\.(?P<region>[a-z]+-[a-z]+-\d+)\.backblazeb2\.com$",
    encryptions=frozenset({"AES256"}),
    lacks=frozenset({"storage_class", "tags"}),
)
COMPATIBLE = Store(
    "S3-compatible",
    # Path style needs no wildcard name and certificate of whoever runs the store.
    sources=("https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html",),
    # Wasabi, Scaleway, OVHcloud and others name the region as AWS does.
    hosts=r"^s3\.(?P<region>[a-z0-9-]+)\.(wasabisys\.com|scw\.cloud|io\.cloud\.ovh\.[a-z]+)$",
)

STORES = (AWS, SPACES, R2, GCS, B2, COMPATIBLE)
_BY_TYPE = {"digitalocean": SPACES, "cloudflare": R2, "gcs": GCS}


def store_of(kind: str, endpoint_url: str) -> Store:
    """The row for a ``storage_config``: its type says it, or for ``aws`` the host of its ``endpoint_url``."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if not endpoint_url:
        return AWS
    return store_at(endpoint_url) or COMPATIBLE


def store_at(url: str) -> Store | None:
    """The row of the store that an address leads to, if it is one that is known by its host."""
    host = urlsplit(url).hostname or ""
    return next((store for store in STORES if store.hosts and re.search(store.hosts, host)), None)


def region_at(url: str) -> str:
    """The region that a known store's address tells, or nothing."""
    host = urlsplit(url).hostname or ""
    found = (re.search(store.hosts, host) for store in STORES if store.hosts)
    return next((match.groupdict().get("region") or "" for match in found if match), "")
