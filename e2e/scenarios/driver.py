#!/usr/bin/env python3
"""Black-box fault scenarios for a Mender-compatible update daemon.  See README.md.
Python 3.11 standard library; needs openssl and mender-artifact, root (for mount namespaces of some adapters)."""
import argparse, base64, hashlib, http.server, json, os, re, shutil, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time, uuid
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
DEVTYPE, OLD, NEW = 'testboard', 'old_name', 'new_name'
STATES = ['Idle', 'Sync', 'Download', 'ArtifactInstall', 'ArtifactReboot', 'ArtifactCommit', 'ArtifactRollback', 'ArtifactRollbackReboot',
          'ArtifactFailure']
SHORT = {'Idle': 'Idle', 'Sync': 'Sync', 'Download': 'Dl', 'ArtifactInstall': 'Inst', 'ArtifactReboot': 'Reb', 'ArtifactCommit': 'Com',
         'ArtifactRollback': 'Rb', 'ArtifactRollbackReboot': 'RbReb', 'ArtifactFailure': 'Fail'}
MOD = {'ProvidePayloadFileSizes': 'PPFS', 'Download': 'DL', 'DownloadWithFileSizes': 'DLSIZES', 'ArtifactInstall': 'INST', 'ArtifactReboot': 'REB',
       'ArtifactVerifyReboot': 'VREB', 'ArtifactCommit': 'COM', 'ArtifactRollback': 'RB', 'ArtifactRollbackReboot': 'RBREB',
       'ArtifactVerifyRollbackReboot': 'VRBREB', 'ArtifactFailure': 'FAIL', 'Cleanup': 'CLEAN'}
SIGN = {'Enter': '+', 'Leave': '-', 'Error': '!'}


def short(n):
    if n in MOD:
        return MOD[n]
    m = re.fullmatch(r'([A-Za-z]+)_(Enter|Leave|Error)(?:_(\d\d\S*))?', n)
    if m and m[1] in SHORT:
        return SHORT[m[1]] + SIGN[m[2]] + ('' if m[3] in (None, '00') else m[3])
    return n


def write(p, s, mode=0o644):
    os.makedirs(os.path.dirname(p), exist_ok=True)
    with open(p, 'wb') as f:
        f.write(s if isinstance(s, bytes) else s.encode())
    os.chmod(p, mode)


def sh(*a, **k):
    return subprocess.run(a, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **k).stdout.decode()


# ---------------------------------------------------------------------------------------------------------------- server
class Drop(Exception):
    pass


class Server:
    """The device API of a Mender server for one device, with faults switched on by scenario options."""

    def __init__(s, run):
        s.run, s.o = run, run.o
        s.lock, s.t0 = threading.RLock(), time.time()
        s.events, s.accepted, s.finals, s.polls, s.logs = [], [], [], [], 0
        s.auths, s.token, s.counts, s.aborted, s.outage = 0, None, {}, False, None
        s.deps, s.cur, s.dlconns, s.dl_ranges, s.invs, s.links = [], 0, 0, [], 0, 0
        s.badpoll = int(s.o.get('next_badjson', 0))
        s.fail = [[x.split(':')[0], int(x.split(':')[1]), int(x.split(':')[2])] for x in s.o.get('fail_status', '').split(',') if x]
        s.fail_until = {}
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(run.shared['cert'], run.shared['key'])
        outer = s

        class H(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *a):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (Drop, ConnectionError, ssl.SSLError, OSError, ValueError):
                    self.close_connection = True
                    try:
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                        self.connection.close()
                    except OSError:
                        pass

            def go(self):
                outer.handle(self)
            do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = go

        class T(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *a):
                pass

            def get_request(self):
                c, a = super().get_request()
                if outer.down():
                    c.close()
                    raise OSError('down')
                c.settimeout(120)
                return c, a

            def finish_request(self, request, addr):
                try:
                    request = ctx.wrap_socket(request, server_side=True)
                except (OSError, ssl.SSLError):
                    return
                super().finish_request(request, addr)

        s.httpd = T(('127.0.0.1', 0), H)
        s.port = s.httpd.server_address[1]
        s.url = 'https://localhost:%d' % s.port
        threading.Thread(target=s.httpd.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True).start()

    def down(s):
        if time.time() - s.t0 < float(s.o.get('start_outage', 0)):
            return True
        if s.outage:
            kind, v = s.outage
            if kind == 'until' and time.time() < v or kind == 'call' and v not in s.run.calls():
                return True
            s.outage = None
        return False

    def stop(s):
        s.httpd.shutdown()
        s.httpd.server_close()

    def body(s, h):
        if 'chunked' in h.headers.get('Transfer-Encoding', ''):
            out = b''
            while True:
                n = int(h.rfile.readline().split(b';')[0] or b'0', 16)
                out += h.rfile.read(n)
                h.rfile.readline()
                if not n:
                    return out
        return h.rfile.read(int(h.headers.get('Content-Length') or 0))

    def send(s, h, code, body=b'', headers=(), ctype='application/json'):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        h.send_response(code)
        h.send_header('X-MEN-RequestID', str(uuid.uuid4()))
        if body:
            h.send_header('Content-Type', ctype)
        for k, v in headers:
            h.send_header(k, v)
        if code != 204:
            h.send_header('Content-Length', str(len(body)))
        h.end_headers()
        h.wfile.write(body)
        return code

    def handle(s, h):
        t = time.time()
        b = s.body(h)
        path = h.path.split('?')[0]
        if s.down():
            s.ev(t, h, 0, b)
            raise Drop()
        if path.startswith('/dl/'):
            return s.ev(t, h, s.artifact(h, path), b)
        code = s.api(h, path, b, t)
        s.ev(t, h, code, b)

    def ev(s, t, h, code, b):
        with s.lock:
            s.events.append((round(t - s.t0, 3), h.command, h.path, code, b[:300].decode('utf8', 'replace'), h.headers.get('Range', '')))

    def api(s, h, path, b, t):
        auth = path.endswith('/authentication/auth_requests')
        ep = 'auth' if auth else 'next' if path.endswith('/next') else path.rsplit('/', 1)[1]
        key = ep
        thr = s.o.get('throttle')
        with s.lock:
            if thr:
                n, ra = thr.split(':')
                if s.counts.get(key, 0) < int(n):
                    s.counts[key] = s.counts.get(key, 0) + 1
                    return s.send(h, 429, {'error': 'too many requests'}, [('Retry-After', ra)])
            if auth:
                if h.command != 'POST' or not h.headers.get('X-MEN-Signature'):
                    return s.send(h, 400, {'error': 'missing request signature header'})
                base64.b64decode(h.headers['X-MEN-Signature'])
                d = json.loads(b)
                json.loads(d['id_data'])
                if '-----BEGIN PUBLIC KEY-----' not in d['pubkey']:
                    return s.send(h, 400, {'error': 'invalid auth request'})
                s.auths += 1
                if s.o.get('reject_until_auth') and s.auths < int(s.o['reject_until_auth']):
                    return s.send(h, 401, {'error': 'dev auth: unauthorized'})
                s.token = 'eyJhbGciOiJub25lIn0.eyJqdGkiOiJ%04d.c2ln' % s.auths
                return s.send(h, 200, s.token.encode(), ctype='application/jwt')
            if not s.token or h.headers.get('Authorization') != 'Bearer ' + s.token:
                return s.send(h, 401, {'error': 'unauthorized'})
            if ep == 'next':
                return s.next(h, path, b, t)
            if ep == 'status' and h.command == 'PUT':
                return s.status(h, path, json.loads(b))
            if ep == 'log' and h.command == 'PUT':
                s.logs += 1
                c = s.o.get('log_code', '204').split(':')
                code = int(c[0]) if len(c) == 1 or s.logs <= int(c[1]) else 204
                if code == 204:
                    for m in json.loads(b)['messages']:
                        assert m['timestamp'] and m['level'] and 'message' in m
                return s.send(h, code, b'' if code == 204 else {'error': 'x'})
            if ep == 'attributes' and h.command in ('PUT', 'PATCH'):
                s.invs += 1
                json.loads(b)
                code = int(s.o.get('inventory_code', 200))
                return s.send(h, code, b'' if code == 200 else {'error': 'internal error'})
        return s.send(h, 404, b'404 page not found', ctype='text/plain')

    def next(s, h, path, b, t):
        if '/v2/' in path and s.o.get('no_v2'):
            return s.send(h, 404, b'404 page not found', ctype='text/plain')
        s.polls.append(t)
        if s.badpoll:
            s.badpoll -= 1
            return s.send(h, 200, b'{"id": 7, "artifact": [')
        if s.cur >= len(s.deps) or s.aborted or (s.o.get('offer_after') and not s.run.offer):
            return s.send(h, 204)
        d = s.deps[s.cur]
        s.links += 1
        link = '%s/dl/%s/%d/a.mender?sig=1' % (s.url, d['id'], s.links)
        d['offers'] = d.get('offers', 0) + 1
        openings = {}
        if s.o.get('window'):                            # seconds until the next one opens; one has just closed
            now, s.opens = time.time(), time.time() + float(s.o['window'])
            at = lambda x: '%s.%03dZ' % (time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(x)), x % 1 * 1000)
            openings = {'maintenance_openings': [{'from': at(a), 'until': at(b)} for a, b in ((now - 60, now), (s.opens, s.opens + 600))]}
        return s.send(h, 200, {**openings, 'id': d['id'], 'artifact': {'id': str(uuid.uuid4()), 'artifact_name': d['name'],
                      'source': {'uri': link, 'expire': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 3600))},
                      'device_types_compatible': [DEVTYPE]}})

    def status(s, h, path, d):
        x, did = d['status'], path.split('/')[-2]
        if d.get('substate'):
            return s.send(h, 204)
        if x == 'installing' and time.time() < getattr(s, 'opens', 0) - 0.01:
            s.accepted.append('TOO-EARLY')
        k = 'st:' + x
        s.counts[k] = s.counts.get(k, 0) + 1
        ab = s.o.get('abort_at', '').split(':')
        if x == ab[0] and s.counts[k] >= int(ab[1]):
            s.aborted = True
            return s.send(h, 409, {'error': 'deployment aborted'})
        for f in s.fail:
            if f[0] == x and f[1] > 0:
                f[1] -= 1
                return s.send(h, f[2], {'error': 'internal error'})
        ft = s.o.get('fail_time', '').split(':')          # status:seconds, from its first attempt
        if ft[0] == x:
            t = s.fail_until.setdefault(x, time.time() + float(ft[1]))
            if time.time() < t:
                return s.send(h, 500, {'error': 'internal error'})
        if not (x == 'downloading' and s.accepted and s.accepted[-1] == x):
            s.accepted.append(x)
        if x in ('success', 'failure', 'already-installed'):
            s.finals.append((x, did, time.time()))
            if s.cur < len(s.deps) and s.deps[s.cur]['id'] == did:
                s.cur += 1
        if s.o.get('revoke_after') == x and not s.counts.get('revoked'):
            s.counts['revoked'], s.token = 1, None
        oa = s.o.get('outage_after', '').split(':')
        if oa[0] == x and not s.counts.get('outage'):
            s.counts['outage'] = 1
            s.outage = ('call', oa[1]) if oa[1].isalpha() else ('until', time.time() + float(oa[1]))
        return s.send(h, 204)

    def artifact(s, h, path):
        _, _, did, ln, *_ = path.split('/')
        d = next(x for x in s.deps if x['id'] == did)
        kind, *arg = s.o.get('dl', '').split(':')
        if kind == 'redirect' and not path.endswith('moved'):
            return s.send(h, 302, headers=[('Location', path.rsplit('/', 1)[0] + '/moved')])
        if kind == 'expired' and ln == '1':
            return s.send(h, 403, {'error': 'forbidden: link expired'})
        if kind == 'err5xx' and s.dlconns < int(arg[0]):
            s.dlconns += 1
            return s.send(h, 503, {'error': 'service unavailable'})
        data = open(d['file'], 'rb').read()
        if kind == 'garbage':
            data = hashlib.sha256(b'x').digest() * 300
        if kind == 'trunc':
            data = data[:len(data) // 2]
        if kind == 'flip':
            data = bytearray(data)
            data[len(data) - 20000] ^= 1
            data = bytes(data)
        s.dlconns += 1
        n, total, start, code, hdr = s.dlconns, len(data), 0, 200, []
        m = re.fullmatch(r'bytes=(\d+)-(\d*)', h.headers.get('Range', ''))
        if m and kind != 'norange':
            start, end = int(m[1]), min(int(m[2] or total - 1), total - 1)
            s.dl_ranges.append(start)
            code = 206
            cs = start + 1000 if kind == 'badrange' else start
            hdr.append(('Content-Range', 'bytes %d-%d/%d' % (cs, end, total)))
            part = data[cs:end + 1]
            if kind == 'badrange':
                part = data[0:end + 1 - start]
        else:
            part = data
        hdr += [('Accept-Ranges', 'bytes'), ('ETag', '"%s"' % hashlib.sha256(data).hexdigest())]
        h.send_response(code)
        h.send_header('Content-Type', 'application/vnd.mender-artifact')
        for k, v in hdr:
            h.send_header(k, v)
        if kind == 'chunked':
            h.send_header('Transfer-Encoding', 'chunked')
            h.end_headers()
            for i in range(0, len(part), 8192):
                c = part[i:i + 8192]
                h.wfile.write(b'%x\r\n%s\r\n' % (len(c), c))
            h.wfile.write(b'0\r\n\r\n')
            return code
        h.send_header('Content-Length', str(len(part)))
        h.end_headers()
        if h.command == 'HEAD':
            return code
        if kind in ('cut', 'badrange', 'norange') and (kind == 'cut' and (arg[1] == 'always' or n <= int(arg[1])) or kind != 'cut' and n == 1):
            h.wfile.write(part[:int(arg[0])])
            h.wfile.flush()
            time.sleep(0.05)
            s.ev(time.time(), h, code, b'cut')
            raise Drop()
        if kind == 'deadend':                       # first connection gives arg[0] bytes, later ones none
            if n == 1:
                h.wfile.write(part[:int(arg[0])])
                h.wfile.flush()
                time.sleep(0.05)
            s.ev(time.time(), h, code, b'cut')
            raise Drop()
        if kind == 'stall' and n == 1:
            h.wfile.write(part[:int(arg[0])])
            h.wfile.flush()
            end = time.time() + float(arg[1])
            while time.time() < end and not s.run.over:
                time.sleep(0.2)
            h.wfile.write(part[int(arg[0]):])
            return code
        h.wfile.write(part)
        return code


# --------------------------------------------------------------------------------------------------------------- adapters
class Mender34:
    """Debian's mender-client 3.4.0.  Its paths are compiled in, so it runs in a mount namespace with bind mounts."""
    name = 'mender34'
    binary = '/usr/bin/mender'

    def __init__(s, run):
        s.r, D = run, run.D
        s.data, s.etc, s.share = D + '/varlib/mender', D + '/etc', D + '/share'
        s.modules, s.scripts = s.share + '/modules/v3', s.etc + '/scripts'
        s.identity, s.inventory = s.share + '/identity/mender-device-identity', s.share + '/inventory'
        s.state_files = ['mender-store']

    def configure(s):
        c = dict(s.r.conf)
        c.update(DBus={'Enabled': False})
        write(s.etc + '/mender.conf', json.dumps(c, indent=1))
        write(s.etc + '/artifact_info', 'artifact_name=%s\n' % OLD)
        shutil.copy(s.r.shared['devkey'], s.data + '/mender-agent.pem')
        os.chmod(s.data + '/mender-agent.pem', 0o600)

    def cmd(s, *verb):
        D = s.r.D
        return ['unshare', '-m', '--propagation', 'private', 'sh', '-c',
                'mount --bind "$0/varlib" /var/lib && mount --bind "$0/etc" /etc/mender && mount --bind "$0/share" /usr/share/mender && '
                'exec "$@"', D, s.binary, '--config', '/etc/mender/mender.conf', '--data', '/var/lib/mender', '--no-syslog', *verb]

    def daemon(s):
        return s.cmd('daemon')

    def show(s):
        return s.cmd('show-artifact')


class Tandem:
    """The product.  TOML, snake_case forms of Mender's keys plus path keys."""
    name = 'tandem'
    binary = os.environ.get('TANDEM', 'tandem')

    def __init__(s, run):
        s.r, D = run, run.D
        s.data, s.etc, s.share = D + '/data', D + '/etc', D + '/share'
        s.modules, s.scripts = s.share + '/modules/v3', s.etc + '/scripts'
        s.identity, s.inventory = s.share + '/identity/mender-device-identity', s.share + '/inventory'
        s.state_files = None                        # every regular file in data_dir except keys, device_type, bootstrap.mender and logs

    def configure(s):
        snake = lambda k: re.sub(r'(?<=[a-z0-9])([A-Z])', r'_\1', k).replace('URL', 'url').lower().replace('serverurl', 'server_url')
        c = {snake(k): v for k, v in s.r.conf.items()}
        c.update(data_dir=s.data, modules_dir=s.modules, scripts_dir=s.scripts, identity_script=s.identity, inventory_dir=s.inventory,
                 device_type_file=s.data + '/device_type', allow_unsigned=True, reboot_command=s.r.D + '/ctl/reboot', uboot_env_config=s.etc + '/fw_env.config',
                 root_device='/dev/null', rootfs_part_a='/dev/null', rootfs_part_b='/dev/null', stall_timeout_seconds=3)
        if s.r.o.get('download_stall'):
            c['stall_timeout_seconds'] = int(s.r.o['download_stall'])
        write(s.etc + '/tandem.toml', ''.join('%s = %s\n' % (k, json.dumps(v)) for k, v in c.items()))
        shutil.copy(s.r.shared['bootstrap'], s.data + '/bootstrap.mender')

    def cmd(s, *verb):
        return [s.binary, '--config', s.etc + '/tandem.toml', *verb]

    def daemon(s):
        return s.cmd('daemon')

    def show(s):
        return s.cmd('show-artifact')


ADAPTERS = {a.name: a for a in (Mender34, Tandem)}

# ------------------------------------------------------------------------------------------------------- device side scripts
COMMON = r'''D='@D@'
step() {
  n=$1
  for f in "$D"/ctl/hung/*; do
    [ -e "$f" ] || continue
    p=${f##*/}; st=gone
    [ -r /proc/$p/stat ] && read -r _ _ st _ < /proc/$p/stat
    read -r hn < "$f"
    case $st in gone|Z|X) ;; *) echo "STILL-RUNNING:$hn" >> "$D/calls.log"; rm -f "$f";; esac
  done
  [ -n "$QUIET" ] || echo "$n" >> "$D/calls.log"
  if [ -e "$D/ctl/kill.$n" ]; then
    read -r w < "$D/ctl/kill.$n"; [ "$w" = once ] && rm "$D/ctl/kill.$n"
    if [ -e "$D/ctl/corrupt" ]; then : > "$D/ctl/corrupt.now"; fi
    read -r p < "$D/agent.pid"; kill -9 "$p"; exit 9
  fi
  if [ -e "$D/ctl/term.$n" ]; then
    rm "$D/ctl/term.$n"; trap '' TERM; : > "$D/ctl/term.now"; sleep 20; exit 9
  fi
  if [ -e "$D/ctl/retry.$n" ]; then
    read -r w < "$D/ctl/retry.$n"
    if [ "$w" = forever ]; then exit 21; fi
    if [ "$w" -gt 0 ]; then echo $((w-1)) > "$D/ctl/retry.$n"; exit 21; fi
  fi
  if [ -e "$D/ctl/err.$n" ]; then
    read -r w < "$D/ctl/err.$n"; [ "$w" = once ] && rm "$D/ctl/err.$n"
    exit 1
  fi
  if [ -e "$D/ctl/hang.$n" ]; then
    read -r w < "$D/ctl/hang.$n"
    [ "$w" = stubborn ] && trap '' TERM HUP INT
    echo "$n" > "$D/ctl/hung/$$"
    i=0; while [ $i -lt 180 ]; do sleep 0.5; i=$((i+1)); done
    echo "END-OF-HANG:$n" >> "$D/calls.log"
  fi
  if [ -e "$D/ctl/flood.$n" ]; then i=0; while [ $i -lt 20000 ]; do echo "flood line $i ........................................"; echo "err $i" >&2; i=$((i+1)); done; fi
  if [ -e "$D/ctl/orphan.$n" ]; then (sleep 45) & fi
}
'''
SCRIPT = '#!/bin/sh\n. "@D@/ctl/common.sh"\nstep @N@\nexit 0\n'
MODULE = '''#!/bin/sh
. '@D@/ctl/common.sh'
case "$1" in SupportsRollback|NeedsArtifactReboot) QUIET=1;; esac
step "$1"
case "$1" in
SupportsRollback) cat "$D/ctl/ans.rollback";;
NeedsArtifactReboot) cat "$D/ctl/ans.reboot";;
ProvidePayloadFileSizes) cat "$D/ctl/ans.sizes";;
Download|DownloadWithFileSizes) if [ -e "$D/ctl/stream" ]; then
  while :; do l=$(cat "$2/stream-next"); [ -n "$l" ] || break; cat "$2/${l%% *}" > "$D/streamed" || exit 1; done; fi;;
ArtifactInstall) if [ -e "$D/ctl/break_version" ]; then echo bogus > '@SCRIPTS@/version'; fi;;
ArtifactRollback) if [ -e "$D/ctl/break_version" ]; then echo 3 > '@SCRIPTS@/version'; fi;;
esac
exit 0
'''


class Run:
    def __init__(s, sc, agent, work, shared, keep):
        s.sc, s.shared, s.keep, s.over, s.offer = sc, shared, keep, False, False
        s.o = sc['o']
        s.sid = 'scen-' + uuid.uuid4().hex[:12]
        s.D = '%s/%s.%s' % (work, sc['id'], s.sid[-6:])
        s.exits, s.starts, s.proc = [], 0, None
        s.A = ADAPTERS[agent](s)

    def calls(s):
        try:
            return [short(x) for x in open(s.D + '/calls.log').read().split('\n') if x]
        except OSError:
            return []

    def prepare(s):
        D, A, o, sc = s.D, s.A, s.o, s.sc
        for d in ('ctl/hung', 'tmp'):
            os.makedirs(D + '/' + d)
        for d in (A.data, A.etc, A.share, A.modules, A.scripts, A.inventory, os.path.dirname(A.identity)):
            os.makedirs(d, exist_ok=True)
        os.chmod(A.data, 0o700)
        write(A.data + '/device_type', 'device_type=%s\n' % DEVTYPE)
        write(A.identity, '#!/bin/sh\necho mac=de:ad:be:ef:00:01\n', 0o755)
        write(A.inventory + '/mender-inventory-x', '#!/bin/sh\necho kernel=Linux\n', 0o755)
        write(D + '/ctl/common.sh', COMMON.replace('@D@', D))
        write(D + '/ctl/reboot', '#!/bin/sh\n. %s/ctl/common.sh\n: > %s/ctl/term.REBOOT-COMMAND\nstep REBOOT-COMMAND\n' % (D, D), 0o755)
        write(D + '/ctl/ans.rollback', 'No\n' if 'rollback_disabled' in o else 'Yes\n')
        write(D + '/ctl/ans.reboot', 'No\n' if 'reboot_disabled' in o else 'Automatic\n' if 'auto_reboot' in o else 'Yes\n')
        write(D + '/ctl/ans.sizes', {'Yes': 'Yes\n', 'No': 'No\n'}.get(o.get('provide_file_sizes', ''), ''))
        for f in ('break_version', 'stream', 'corrupt'):
            if f in o:
                write(D + '/ctl/' + f, o[f])
        nn = lambda n: n + '_00' if re.search(r'_(Enter|Leave|Error)$', n) else n
        for n in sc['err']:
            write(D + '/ctl/err.' + nn(n), 'forever\n' if 'error_forever' in o else 'once\n')
        for n in sc['kill']:
            write(D + '/ctl/kill.' + nn(n), 'forever\n' if 'kill_forever' in o else 'once\n')
        for n in sc['hang']:
            write(D + '/ctl/hang.' + nn(n), 'stubborn\n' if 'stubborn' in o else 'once\n')
        for k in ('retry', 'flood', 'orphan', 'term'):
            for x in o.get(k, '').split(','):
                if x:
                    n, _, v = x.partition('*')
                    write(D + '/ctl/%s.%s' % (k, nn(n)), (v or 'forever') + '\n')
        # scripts
        rootfs = ['Download'] + (['Idle', 'Sync'] if 'idle' in o else [])
        for st in STATES:
            for a in ('Enter', 'Leave', 'Error'):
                n = '%s_%s_00' % (st, a)
                t = SCRIPT.replace('@D@', D).replace('@N@', n)
                if st in rootfs:
                    write(A.scripts + '/' + n, t, 0o755)
                elif st not in ('Idle', 'Sync'):
                    write(D + '/art/' + n, t, 0o755)
        for x in o.get('more_scripts', '').split(','):        # rootfs scripts, NAME or NAME! (not executable)
            if x:
                n = x.rstrip('!')
                write(A.scripts + '/' + n, SCRIPT.replace('@D@', D).replace('@N@', n), 0o644 if x.endswith('!') else 0o755)
        write(A.scripts + '/version', '3')
        write(A.modules + '/test-module', MODULE.replace('@D@', D).replace('@SCRIPTS@', A.scripts), 0o755)
        # artifacts
        s.srv = Server(s)
        names = {'two': [NEW, 'new_name_2']}.get(o.get('deployments', ''), [OLD if 'same_name' in o else NEW])
        for nm in names:
            f = D + '/%s.mender' % nm
            if 'empty_payload' in o:
                sh('mender-artifact', 'write', 'bootstrap-artifact', '-t', DEVTYPE, '-n', nm, '-o', f)
            else:
                dt = 'othertype' if 'device_type_mismatch' in o else DEVTYPE
                a = ['mender-artifact', 'write', 'module-image', '-T', 'test-module', '-n', nm, '-t', dt, '-f', s.shared['payload'], '-o', f,
                     '--compression', 'none']
                for x in sorted(os.listdir(D + '/art')):
                    a += ['-s', D + '/art/' + x]
                sh(*a)
            s.srv.deps.append({'id': str(uuid.uuid4()), 'name': nm, 'file': f})
        s.newname = names[-1]
        # configuration: Mender's keys; the adapter translates
        s.conf = dict(ServerURL=s.srv.url, ServerCertificate=s.shared['cert'], UpdatePollIntervalSeconds=int(o.get('poll', 1)),
                      InventoryPollIntervalSeconds=3600, RetryPollIntervalSeconds=1, ModuleTimeoutSeconds=2 if sc['hang'] else 120,
                      StateScriptTimeoutSeconds=2 if sc['hang'] else 60, StateScriptRetryIntervalSeconds=1, StateScriptRetryTimeoutSeconds=3,
                      DeviceTypeFile=A.data + '/device_type')
        if A.name == 'mender34':
            s.conf['DeviceTypeFile'] = '/var/lib/mender/device_type'
        for kv in o.get('conf', '').split(','):
            if kv:
                k, v = kv.split(':')
                s.conf[k] = int(v)
        A.configure()

    def spawn(s):
        env = dict(os.environ, SCENARIO_ID=s.sid)
        for k in list(env):
            if k.lower().endswith('_proxy'):
                del env[k]
        logf = open(s.D + '/agent.log', 'ab')
        s.proc = subprocess.Popen(s.A.daemon(), stdin=subprocess.DEVNULL, stdout=logf, stderr=logf, env=env, start_new_session=True, cwd='/')
        write(s.D + '/agent.pid', '%d\n' % s.proc.pid)
        logf.close()
        s.starts += 1

    def corrupt(s, how):
        A = s.A
        files = A.state_files
        if files is None:
            files = [f for f in os.listdir(A.data) if os.path.isfile(A.data + '/' + f) and not re.search(r'\.pem$|^device_type$|\.mender$|\.log$|lock|\.conf$', f)]
        for f in files:
            p = A.data + '/' + f
            if os.path.exists(p):
                n = os.path.getsize(p)
                with open(p, 'wb') as fh:
                    fh.write(b'' if how == 'empty' else (b'\x00\xffgarbage{' * (n // 10 + 1))[:max(n, 10)])

    def others(s):
        out = {}
        for p in os.listdir('/proc'):
            if not p.isdigit() or int(p) in (os.getpid(), s.proc.pid if s.proc else 0):
                continue
            try:
                env = open('/proc/%s/environ' % p, 'rb').read()
                cl = open('/proc/%s/cmdline' % p, 'rb').read()
            except OSError:
                continue
            if b'SCENARIO_ID=' + s.sid.encode() in env or cl and s.D.encode() in cl:
                out[int(p)] = cl.replace(b'\0', b' ').decode('utf8', 'replace')[:120]
        return out

    def killall(s):
        for p in s.others():                          # only processes of this scenario, by pid
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass

    def execute(s):
        o, t0 = s.o, time.time()
        limit = float(o.get('limit', s.shared['limit']))
        s.prepare()
        srv, r = s.srv, {'id': s.sc['id']}
        try:
            if 'corrupt_start' in o:                 # let it become idle once, stop, corrupt, go
                srv.o = dict(o, offer_after='x')
                s.spawn()
                while len(srv.polls) < 2 and time.time() - t0 < 20:
                    time.sleep(0.05)
                s.proc.terminate()
                try:
                    s.proc.wait(5)
                except subprocess.TimeoutExpired:
                    s.proc.kill()
                    s.proc.wait()
                s.corrupt(o['corrupt_start'])
                srv.o = o
                srv.polls.clear()
            s.spawn()
            usr1 = o.get('offer_after') == 'usr1'
            end, ended = t0 + limit, None
            while time.time() < end:
                time.sleep(0.04)
                if os.path.exists(s.D + '/ctl/term.now'):        # what a reboot does: TERM, grace, KILL to everything
                    os.remove(s.D + '/ctl/term.now')
                    s.proc.terminate()
                    try:
                        s.proc.wait(1.5)
                    except subprocess.TimeoutExpired:
                        s.proc.kill()
                        s.proc.wait()
                    s.killall()
                rc = s.proc.poll()
                if rc is not None:
                    s.exits.append(rc)
                    if os.path.exists(s.D + '/ctl/corrupt.now'):
                        os.remove(s.D + '/ctl/corrupt.now')
                        s.corrupt(o['corrupt'])
                    if len(s.exits) > 80:
                        break
                    time.sleep(0.12 if rc == -9 else min(0.2 * len(s.exits), 2))
                    s.spawn()
                if usr1 and len(srv.polls) >= 1:
                    time.sleep(0.5)
                    s.offer, usr1, r['usr1'] = True, False, time.time()
                    s.proc.send_signal(signal.SIGUSR1)
                with srv.lock:
                    fin = srv.cur >= len(srv.deps)
                    tf = srv.finals[-1][2] if srv.finals else None
                    if fin:
                        ended = ended or time.time()
                        want = srv.logs or srv.finals[-1][0] != 'failure' or time.time() - tf > 3
                        if 'idle_end' in o or ([p for p in srv.polls if p > tf] and want and time.time() - tf > 0.4):
                            break
                    elif srv.aborted and not srv.finals:
                        ab = max(e[0] for e in srv.events if e[3] == 409) + srv.t0 if any(e[3] == 409 for e in srv.events) else time.time()
                        if len([p for p in srv.polls if p > ab]) >= 4:
                            break
            time.sleep(0.1)
            with srv.lock:
                tf = srv.finals[-1][2] if srv.finals else None
                r.update(statuses=list(srv.accepted), finals=[f[0] for f in srv.finals], polls=len(srv.polls), auths=srv.auths,
                         again=bool(tf and [p for p in srv.polls if p > tf]) or bool(srv.aborted and len(srv.polls) > 1), ranges=list(srv.dl_ranges), logs=srv.logs,
                         t_final=round(tf - t0, 2) if tf else None, offers=[d.get('offers', 0) for d in srv.deps])
                if s.sc['calls'].startswith('idle:'):
                    pass
            a1 = s.others()
            if a1:
                time.sleep(0.5)
                a1 = {p: c for p, c in s.others().items() if p in a1}
            r['left'] = a1
            rc = s.proc.poll()
            r['alive'] = rc is None
            r['calls'] = s.calls()
            r['exits'] = s.exits
        finally:
            s.over = True
            if s.proc and s.proc.poll() is None:
                s.proc.terminate()
                try:
                    s.proc.wait(1.5)
                except subprocess.TimeoutExpired:
                    s.proc.kill()
                    s.proc.wait()
            s.killall()
        try:
            out = subprocess.run(s.A.show(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, env=dict(os.environ, SCENARIO_ID=s.sid)).stdout.decode()
            r['name_raw'] = ([x for x in out.strip().split('\n') if x] or [''])[-1].strip()
        except (OSError, subprocess.TimeoutExpired) as e:
            r['name_raw'] = 'error: %s' % e
        r['name'] = {OLD: 'old', s.newname: 'ok', s.newname + '_INCONSISTENT': 'INC'}.get(r['name_raw'], r['name_raw'])
        if 'same_name' in o and r['name'] == 'ok':
            r['name'] = 'old'
        r['events'] = srv.events
        r['secs'] = round(time.time() - t0, 1)
        srv.stop()
        if s.keep:
            write(s.D + '/result.json', json.dumps(r, indent=1))
        else:
            shutil.rmtree(s.D, ignore_errors=True)
        r['dir'] = s.D
        return r


# ---------------------------------------------------------------------------------------------------------------- judging
def squeeze(xs):
    """collapse immediately repeated blocks (length 1..5) and a repeated partial tail, for endless-loop rows"""
    xs = list(xs)
    for n in range(1, 6):
        i = 0
        while i + 2 * n <= len(xs):
            if xs[i:i + n] == xs[i + n:i + 2 * n]:
                del xs[i + n:i + 2 * n]
                if xs[i + n:] and xs[i + n:] == xs[i:i + len(xs) - i - n] and len(xs) - i - n < n:
                    del xs[i + n:]
            else:
                i += 1
    return xs


def judge(sc, r, drop=()):
    d = []
    if not r['finals'] and 'nofinal' not in sc['checks']:
        d.append('no final status within the limit')
    exp, got = sc['calls'], [c for c in r['calls'] if c not in drop]
    if exp.startswith('~'):
        e, g = squeeze([x for x in exp[1:].split() if x not in drop]), squeeze(got)
        ok = e == g
        if not ok:
            d.append('calls(squeezed): expected [%s] got [%s]' % (' '.join(e), ' '.join(g)))
    elif exp.startswith('idle:'):
        e = [x for x in exp[5:].split() if x not in drop]
        if got[:len(e)] != e:
            d.append('calls: expected [%s ...] got [%s]' % (' '.join(e), ' '.join(got[:len(e) + 6])))
    elif exp.startswith('rule:'):
        for rule in exp[5:].split():
            k, _, v = rule.partition('=')
            if k == 'has' and v not in got:
                d.append('calls: %s missing in [%s]' % (v, ' '.join(got)))
            if k == 'no' and v in got:
                d.append('calls: %s must not happen: [%s]' % (v, ' '.join(got)))
            if k == 'max' and got.count(v.split('*')[0]) > int(v.split('*')[1]):
                d.append('calls: %s happened %d times' % (v.split('*')[0], got.count(v.split('*')[0])))
            if k == 'seq':
                it = iter(got)
                if not all(x in it for x in v.split(',')):
                    d.append('calls: order %s not in [%s]' % (v, ' '.join(got)))
    elif exp != '*':
        e = [x for x in exp.split() if x not in drop]
        if e != got:
            d.append('calls: expected [%s] got [%s]' % (' '.join(e), ' '.join(got)))
    st, g = sc['statuses'], r['statuses']
    if st.startswith('final:'):
        if (g[-1] if g else '-') not in st[6:].split('|'):
            d.append('final status: expected %s got [%s]' % (st[6:], ' '.join(g)))
        n = len(r['finals'])
        if n > int(dict(x.split('=') for x in sc['checks'] if '=' in x).get('finals', 1)):
            d.append('%d final reports: %s' % (n, ' '.join(r['finals'])))
    elif st != '*' and st.split() != g:
        d.append('statuses: expected [%s] got [%s]' % (st, ' '.join(g)))
    if sc['name'] != '*' and r['name'] not in sc['name'].split('|'):
        d.append('name: expected %s got %s' % (sc['name'], r['name']))
    if not r['alive']:
        d.append('daemon not running at the end')
    if not r['again'] and 'nopoll' not in sc['checks']:
        d.append('no poll after the end')
    if r['left'] and 'left_ok' not in sc['checks']:
        d.append('processes left over: %s' % '; '.join(r['left'].values()))
    nk = [x for x in r['exits'] if x != -9]
    if nk and 'exits_ok' not in sc['checks']:
        d.append('daemon exited by itself: %s' % nk[:6])
    for c in r['calls']:
        if c.startswith(('STILL-RUNNING', 'END-OF-HANG')) and not any(c in x for x in d):
            d.append(c)
    for c in sc['checks']:
        k, _, v = c.partition('=')
        if k == 'within' and (r['t_final'] is None or r['t_final'] > float(v)):
            d.append('final status after %s s, limit %s' % (r['t_final'], v))
        if k == 'gap':                                # Retry-After honoured: per endpoint, next request not sooner
            last = {}
            for t, m, p, code, b, _ in r['events']:
                ep = p.split('?')[0].rsplit('/', 1)[1]
                if ep in last and t - last[ep] < float(v):
                    d.append('%s asked again %.1f s after 429 with Retry-After' % (ep, t - last[ep]))
                    break
                last.pop(ep, None)
                if code == 429:
                    last[ep] = t
        if k == 'pace':                               # never more than one poll per v seconds
            last, g = None, 9
            for t, m, p, *_ in r['events']:           # a poll right after a deployment is fine
                if p.endswith('/status'):
                    last = None
                elif '/v2/' in p and p.split('?')[0].endswith('/next'):
                    g, last = min(g, t - last) if last is not None else g, t
            if g < float(v):
                d.append('polls only %.2f s apart' % g)
        if k == 'ranges' and len(r['ranges']) < int(v):
            d.append('resumed %d times, expected at least %s' % (len(r['ranges']), v))
        if k == 'offers' and r['offers'][0] > int(v):
            d.append('same deployment fetched from the server %d times' % r['offers'][0])
    return d


def parse(path):
    out = []
    for ln in open(path):
        if ln.startswith('#') or not ln.strip() or ln.startswith('id\t'):
            continue
        f = ln.rstrip('\n').split('\t')
        f += [''] * (10 - len(f))
        sp = lambda x: [y for y in x.split(',') if y]
        o = dict((x.split('=', 1) if '=' in x else (x, '')) for x in f[4].split(';') if x)
        out.append(dict(id=f[0], err=sp(f[1]), kill=sp(f[2]), hang=sp(f[3]), o=o, calls=f[5], statuses=f[6], name=f[7], checks=f[8].split(), title=f[9]))
    return out


def make_shared(work, limit):
    os.makedirs(work, exist_ok=True)
    p = lambda x: work + '/shared/' + x
    os.makedirs(work + '/shared', exist_ok=True)
    if not os.path.exists(p('bootstrap.mender')):
        sh('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', p('key.pem'), '-out', p('cert.pem'),
           '-days', '3650', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
        sh('openssl', 'genrsa', '-traditional', '-out', p('dev.pem'), '3072')
        write(p('payload.bin'), b''.join(hashlib.sha256(b'%d' % i).digest() for i in range(9600)))
        sh('mender-artifact', 'write', 'bootstrap-artifact', '-t', DEVTYPE, '-n', OLD, '-o', p('bootstrap.mender'))
    return dict(cert=p('cert.pem'), key=p('key.pem'), devkey=p('dev.pem'), payload=p('payload.bin'), bootstrap=p('bootstrap.mender'), limit=limit)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('tsv', nargs='+')
    ap.add_argument('--agent', default='tandem', choices=sorted(ADAPTERS))
    ap.add_argument('--only', default='', help='comma list of ids, or a regular expression')
    ap.add_argument('--jobs', type=int, default=2)
    ap.add_argument('--work', default=os.path.join(tempfile.gettempdir(), 'scenarios'))
    ap.add_argument('--limit', type=float, default=40)
    ap.add_argument('--keep', action='store_true')
    ap.add_argument('--out')
    ap.add_argument('--raw', help='write raw results as JSON lines')
    ap.add_argument('--drop', default='', help='call tokens to ignore on both sides, e.g. PPFS')
    ap.add_argument('--write-config-only', metavar='DIR', help='only write the device directory of the first scenario there (no agent is started)')
    a = ap.parse_args()
    shared = make_shared(a.work, a.limit)
    scs = [s for t in a.tsv for s in parse(t)]
    scs = [s for s in scs if s['o'].get('only', a.agent) == a.agent]
    if a.only:
        ids = a.only.split(',')
        scs = [s for s in scs if s['id'] in ids or re.fullmatch(a.only, s['id'])]
    if a.write_config_only:
        r = Run(scs[0], a.agent, a.write_config_only, shared, True)
        r.prepare()
        r.srv.stop()
        print(r.D)
        return 0
    t0, bad, rows = time.time(), 0, []

    def one(sc):
        try:
            r = Run(sc, a.agent, a.work, shared, a.keep).execute()
            return sc, r, judge(sc, r, set(a.drop.split(',')))
        except Exception as e:                        # a fault of the driver, reported as such
            import traceback
            traceback.print_exc()
            return sc, None, ['DRIVER: %r' % e]
    with ThreadPoolExecutor(a.jobs) as ex:
        for sc, r, d in ex.map(one, scs):
            bad += bool(d)
            rows.append((sc['id'], 'fail' if d else 'pass', r and r['secs'], sc['title'], ' || '.join(d)))
            print('%-5s %-4s %5ss %s%s' % (sc['id'], 'FAIL' if d else 'pass', r and r['secs'], sc['title'], ''.join('\n        ' + x for x in d)), flush=True)
            if a.raw and r:
                with open(a.raw, 'a') as f:
                    f.write(json.dumps(r) + '\n')
    print('%d scenarios, %d passed, %d failed, %.0f s' % (len(rows), len(rows) - bad, bad, time.time() - t0))
    if a.out:
        with open(a.out, 'w') as f:
            f.write('id\tresult\tseconds\tscenario\twhat differed\n')
            for x in rows:
                f.write('\t'.join(str(y) for y in x) + '\n')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
