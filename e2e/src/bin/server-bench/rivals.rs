//! What the server is measured against: nginx, which only says 204 or sends a file, and gooseBit from PyPI.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A server that runs.
pub(crate) struct Rival {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::io::Write::write_all(&mut std::fs::File::create_new(path)?, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// nginx: a constant 204 below `/api`, the files of `dir` below `/files`. Its send buffers are bounded: without that a
/// thousand slow downloads take all memory that the kernel has for TCP, and everybody on the machine stands still.
pub(crate) fn nginx(dir: &Path, identity: &Identity) -> Result<Rival> {
    let address = free_address()?;
    let (path, config) = (dir.display(), dir.join("nginx.conf"));
    let text = format!(
        "daemon off; worker_processes 2; pid {path}/pid; error_log {path}/errors; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; sendfile on; client_body_temp_path {path}/bodies;\n\
         proxy_temp_path {path}/t1; fastcgi_temp_path {path}/t2; uwsgi_temp_path {path}/t3; scgi_temp_path {path}/t4;\n\
         server {{ listen {address} ssl backlog=4096 sndbuf=256k; ssl_certificate {}; ssl_certificate_key {};\n\
         location /api {{ return 204; }} location /files {{ alias {path}/files; }} }} }}\n",
        identity.certificate.display(),
        identity.key.display(),
    );
    put(&config, &text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&config);
    // Its workers have another user, who cannot look into a private directory.
    command.args(["-g", "user root;"]);
    let mut process = Process::start_logged(&mut command, &dir.join("nginx.log"))?;
    process.wait("nginx", || TcpStream::connect(address).ok())?;
    Ok(Rival { process, address })
}

/// gooseBit behind uvicorn, with TLS; from `venv`, which is made if it is not there.
pub(crate) fn goosebit(dir: &Path, venv: &Path, identity: &Identity) -> Result<Rival> {
    // It runs in a directory of its own.
    let venv = std::path::absolute(venv)?;
    let uvicorn = venv.join("bin/uvicorn");
    if !uvicorn.exists() {
        let run = |command: &mut Command| match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => bail!("{command:?}: {status}"),
            Err(err) => bail!("{command:?}: {err}"),
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "-q", "goosebit==0.2.12"]))?;
    }
    // Its own migration tool is not in the package.
    let database = format!("sqlite:///{}/db.sqlite3", dir.display());
    let mut schema = Command::new("timeout");
    schema.arg("60").arg(venv.join("bin/python"));
    schema.env("GOOSEBIT_DB_URI", &database);
    let made = schema.args(["-c", SCHEMA]).current_dir(dir).status();
    if !made.as_ref().is_ok_and(|status| status.success()) {
        bail!("cannot make gooseBit's database: {made:?}");
    }
    let address = free_address()?;
    let mut command = Command::new(&uvicorn);
    command.arg("goosebit:app").args([
        "--host",
        "127.0.0.1",
        "--log-level",
        "warning",
        "--no-access-log",
    ]);
    command.args(["--port", &address.port().to_string()]);
    command
        .arg("--ssl-certfile")
        .arg(&identity.certificate)
        .arg("--ssl-keyfile")
        .arg(&identity.key);
    command.current_dir(dir).env("GOOSEBIT_DB_URI", &database);
    let mut process = Process::start_logged(&mut command, &dir.join("goosebit.log"))?;
    process.wait("gooseBit", || TcpStream::connect(address).ok())?;
    Ok(Rival { process, address })
}

const SCHEMA: &str = "
import asyncio
from tortoise import Tortoise
from goosebit.db.config import TORTOISE_CONF
async def make():
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    from goosebit.db.models import Device, Hardware
    hardware = (await Hardware.get_or_create(model='default', revision='default'))[0]
    for n in range(100):
        await Device.create(id=f'device{n}', name=f'device{n}', hardware=hardware)
    await Tortoise.close_connections()
asyncio.run(make())
";
