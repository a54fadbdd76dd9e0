#!/usr/bin/env python3
"""What other people's code is linked into the programs of a crate of this workspace.

    e2e/bill.py licences CRATE ARCHITECTURE    the licences and notices of all of it, as text
    e2e/bill.py sbom CRATE ARCHITECTURE        a software bill of materials, CycloneDX 1.5, JSON

CRATE is a directory of the workspace, ARCHITECTURE what Debian calls the processor. Facts are those
of Cargo.lock and of the crates' own manifests; what only builds (procedural macros, build scripts'
own dependencies) is left out. The same source makes the same bytes.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {
    'amd64': 'x86_64-unknown-linux-gnu',
    'arm64': 'aarch64-unknown-linux-gnu',
    'armhf': 'armv7-unknown-linux-gnueabihf',
    'riscv64': 'riscv64gc-unknown-linux-gnu',
}
NOTICES = re.compile(r'(licen[cs]e|copying|copyright|notice|unlicense)', re.IGNORECASE)


def cargo(*arguments):
    return subprocess.run(['cargo', *arguments, '--locked'], cwd=ROOT, check=True, capture_output=True, text=True).stdout


class Graph:
    """The crates that a crate of the workspace is made of for one processor."""

    def __init__(self, crate, architecture):
        target = TARGETS[architecture]
        facts = json.loads(cargo('metadata', '--format-version=1', '--filter-platform', target))
        self.packages = {package['id']: package for package in facts['packages']}
        self.nodes = {node['id']: node for node in facts['resolve']['nodes']}
        manifest = str(ROOT / crate / 'Cargo.toml')
        [self.root] = [one['id'] for one in facts['packages'] if one['manifest_path'] == manifest]
        # With the features that this crate alone asks for; metadata has those of the whole workspace.
        tree = cargo('tree', '--package', self.packages[self.root]['name'], '--target', target,
                     '--edges', 'normal,no-proc-macro', '--prefix', 'none', '--format', '{p}')
        linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
        self.linked = sorted(
            (one for one, package in self.packages.items() if (package['name'], 'v' + package['version']) in linked),
            key=lambda one: (self.packages[one]['name'], self.packages[one]['version']))

    def needs(self, crate):
        """What is linked because of a crate."""
        return sorted({
            need['pkg'] for need in self.nodes[crate]['deps']
            if need['pkg'] in self.linked and any(kind['kind'] is None for kind in need['dep_kinds'])
        })

    def is_ours(self, crate):
        return self.packages[crate]['source'] is None


def licences(graph):
    """Each crate with its licence, then every different text with the crates that it came with."""
    texts, lines = {}, []
    for crate in graph.linked:
        package = graph.packages[crate]
        if graph.is_ours(crate):
            continue
        title = f"{package['name']} {package['version']}"
        lines.append(f"{title}: {package['license'] or 'see below'}")
        directory = Path(package['manifest_path']).parent
        for file in sorted(directory.rglob('*')):
            if NOTICES.match(file.name) and file.suffix not in ('.rs', '.py', '.html', '.json') and file.is_file():
                text = file.read_text('utf-8', 'replace').strip()
                texts.setdefault(text, []).append(f'{title} ({file.relative_to(directory)})')
    for text, crates in texts.items():
        lines += ['', '-' * 72, *crates, '', text]
    return '\n'.join(lines)


def purl(package):
    return f"pkg:cargo/{package['name']}@{quote(package['version'])}"


def sbom(graph):
    """CycloneDX, see its specification of version 1.5."""
    with open(ROOT / 'Cargo.lock', 'rb') as file:
        locked = {(one['name'], one['version']): one.get('checksum') for one in tomllib.load(file)['package']}

    def component(crate):
        package = graph.packages[crate]
        entry = {
            'type': 'application' if crate == graph.root else 'library',
            'bom-ref': purl(package),
            'name': package['name'],
            'version': package['version'],
            'purl': purl(package),
        }
        if package['description']:
            entry['description'] = ' '.join(package['description'].split())
        if package['license']:
            # Cargo's older way to say OR.
            entry['licenses'] = [{'expression': package['license'].replace('/', ' OR ')}]
        if checksum := locked[package['name'], package['version']]:
            entry['hashes'] = [{'alg': 'SHA-256', 'content': checksum}]
        return entry

    epoch = int(os.environ.get('SOURCE_DATE_EPOCH', '0'))
    made = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    return json.dumps({
        'bomFormat': 'CycloneDX',
        'specVersion': '1.5',
        'version': 1,
        'metadata': {'timestamp': made.strftime('%Y-%m-%dT%H:%M:%SZ'), 'component': component(graph.root)},
        'components': [component(crate) for crate in graph.linked if crate != graph.root],
        'dependencies': [
            {'ref': purl(graph.packages[crate]), 'dependsOn': sorted(purl(graph.packages[one]) for one in graph.needs(crate))}
            for crate in graph.linked
        ],
    }, indent=1)


def main():
    verbs = {'licences': licences, 'sbom': sbom}
    if len(sys.argv) != 4 or sys.argv[1] not in verbs or sys.argv[3] not in TARGETS:
        sys.exit(__doc__)
    print(verbs[sys.argv[1]](Graph(sys.argv[2], sys.argv[3])))


if __name__ == '__main__':
    main()
