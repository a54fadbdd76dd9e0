//! nginx with TLS, and a line in front of it on which every byte is counted.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use socket2::SockRef;

/// A running nginx.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Nginx {
    /// Serves the files in `www`.
    pub(crate) fn start(dir: &Path, www: &Path, certificate: &Path) -> Result<Nginx> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (config, log) = (dir.join("nginx.conf"), dir.join("access.log"));
        let here = dir.display();
        fs::write(
            &config,
            format!(
                "daemon off;\npid {here}/nginx.pid;\nerror_log {here}/error.log;\n\
                 user root;\nworker_processes 1;\nevents {{ worker_connections 64; }}\n\
                 http {{\n access_log {};\n\
                 server {{\n listen 127.0.0.1:{port} ssl;\n ssl_certificate {stem}.crt;\n\
                 ssl_certificate_key {stem}.key;\n root {};\n keepalive_requests 100000;\n }}\n}}\n",
                log.display(),
                www.display(),
                stem = certificate.display(),
            ),
        )?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(dir.join("error.log"))
            .spawn()
            .context("cannot start nginx (Debian: nginx-light)")?;
        let nginx = Nginx { child, port, log };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::yield_now();
        }
        Ok(nginx)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many requests it has answered.
    pub(crate) fn requests(&self) -> Result<u64> {
        Ok(fs::read_to_string(&self.log)?.lines().count() as u64)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker at this signal, not at SIGKILL.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            // If it is gone already, so much the better.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        drop(self.child.wait());
    }
}

/// A line that counts.
pub(crate) struct Line {
    port: u16,
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

/// How much is under way at once, bytes: what is sent to somebody who has stopped listening counts too.
const UNDER_WAY: usize = 8 << 10;

impl Line {
    /// A line to this port.
    pub(crate) fn start(to: u16) -> Result<Line> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let line = Line {
            port: listener.local_addr()?.port(),
            bytes: Arc::default(),
            connections: Arc::default(),
        };
        let (bytes, connections) = (Arc::clone(&line.bytes), Arc::clone(&line.connections));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                if let Err(err) = join(near, to, &bytes) {
                    drop(writeln!(
                        io::stderr(),
                        "delta-bench: the line breaks: {err}"
                    ));
                }
            }
        });
        Ok(line)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes and connections.
    pub(crate) fn end(self) -> (u64, u64) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (value(&self.bytes), value(&self.connections))
    }
}

fn join(near: TcpStream, to: u16, bytes: &Arc<AtomicU64>) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", to))?;
    SockRef::from(&near).set_send_buffer_size(UNDER_WAY)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let bytes = Arc::clone(bytes);
        thread::spawn(move || {
            // An end is an end, however it comes.
            drop(pass(&from, &to, &bytes));
            drop(to.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, bytes: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
        bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
}
