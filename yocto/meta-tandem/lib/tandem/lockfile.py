"""The crates that Cargo.lock names, in the words of BitBake's crate fetcher."""

import re

_PACKAGE = re.compile(
    r'^\[\[package\]\]\nname = "(?P<name>[^"\n]+)"\nversion = "(?P<version>[^"\n]+)"\n'
    r'(?:source = "(?P<source>[^"\n]+)"\n)?(?:checksum = "(?P<checksum>[0-9a-f]{64})"\n)?',
    re.MULTILINE,
)


def crates(text):
    """Returns (uri, name, sha256) for each crate of a lock file.

    Packages without a source are members of the workspace. Cargo writes these files itself, always
    in this form, so they are read without a TOML library, which Python has only since 3.11.
    """
    if text.count("[[package]]") != len(_PACKAGE.findall(text)):
        raise ValueError("Cargo.lock is not in the form that cargo writes")
    found = []
    for package in _PACKAGE.finditer(text):
        name, version, source, checksum = package.group("name", "version", "source", "checksum")
        if source is None:
            continue
        registry, _, index = source.partition("+")
        if registry != "registry" or not checksum:
            raise ValueError(
                f"the crate {name} {version} comes from {source}; only registries can be fetched"
            )
        # The index of a registry is a repository called after it; the fetcher knows it by that name.
        host = index.rsplit("/", 1)[-1].removesuffix("-index")
        found.append((f"crate://{host}/{name}/{version}", f"{name}-{version}", checksum))
    return found
