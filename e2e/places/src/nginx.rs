//! nginx with any configuration, and what it sent.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Running, free_address, there};

/// An nginx that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    dir: PathBuf,
    address: SocketAddr,
    _running: Running,
}

/// An answer that it gave.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its status.
    pub status: u16,
    /// Bytes of it, the head among them.
    pub bytes: u64,
    /// What of the file was asked for; empty if all of it.
    pub range: String,
    /// `HIT` if it was kept here, and so on.
    pub cache: String,
    /// What was asked for, query included.
    pub path: String,
}

impl Nginx {
    /// Whether it is installed.
    ///
    /// # Errors
    /// When it is not, and must be.
    pub fn installed() -> Result<bool> {
        let found = Command::new("nginx").arg("-v").output().is_ok();
        there(found, "nginx")
    }

    /// Starts one in `dir`, which is created, over TLS with a certificate by the authority in `authority/ca.crt` and
    /// `ca.key`. `http` is what stands beside the server, `server` what stands in it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(dir: &Path, authority: &Path, http: &str, server: &str) -> Result<Nginx> {
        std::fs::create_dir_all(dir)?;
        certify(dir, authority)?;
        let address = free_address()?;
        let path = dir.display();
        let text = format!(
            "daemon off; worker_processes 1; pid {path}/pid; error_log {path}/errors;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
             log_format sent '$status $bytes_sent \"$http_range\" \"$upstream_cache_status\" $request_uri';\n\
             access_log {path}/sent sent; client_body_temp_path {path}/t0; proxy_temp_path {path}/t1;\n\
             fastcgi_temp_path {path}/t2; uwsgi_temp_path {path}/t3; scgi_temp_path {path}/t4;\n\
             client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;\n\
             {http}\n\
             server {{ listen {address} ssl; ssl_certificate {path}/crt; ssl_certificate_key {path}/key;\n\
             {server}\n}} }}\n",
        );
        let config = dir.join("nginx.conf");
        File::create_new(&config)?.write_all(text.as_bytes())?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir).arg("-c").arg(&config);
        // Its workers have another user, who cannot look into a private directory.
        command.args(["-g", "user root;"]);
        let running = Running::start(&mut command, &dir.join("log"), address)?;
        Ok(Nginx {
            dir: dir.to_owned(),
            address,
            _running: running,
        })
    }

    /// What leads to it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What it sent so far. It writes an answer down when the last of it is on its way.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn sent(&self) -> Result<Vec<Sent>> {
        let text = std::fs::read_to_string(self.dir.join("sent")).unwrap_or_default();
        text.lines().map(sent).collect()
    }
}

/// Makes a certificate for 127.0.0.1 and its key in `dir`.
fn certify(dir: &Path, authority: &Path) -> Result<()> {
    File::create_new(dir.join("extension"))?.write_all(b"subjectAltName=IP:127.0.0.1\n")?;
    let made = Command::new("sh")
        .args(["-ec", CERTIFY, "sh"])
        .arg(authority)
        .current_dir(dir)
        .output()?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "openssl: {said}");
    Ok(())
}

const CERTIFY: &str = "
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=nginx -keyout key -out request
    openssl x509 -req -in request -days 2 -CA \"$1/ca.crt\" -CAkey \"$1/ca.key\" -set_serial 7 -extfile extension -out crt";

fn sent(line: &str) -> Result<Sent> {
    let mut quoted = line.split('"');
    let mut word = || {
        quoted
            .next()
            .map(str::trim)
            .context("a line without quotes")
    };
    let (numbers, range, _, cache, path) = (word()?, word()?, word()?, word()?, word()?);
    let (status, bytes) = numbers.split_once(' ').context("a line without numbers")?;
    let dash = |text: &str| match text {
        "-" => String::new(),
        other => other.to_owned(),
    };
    Ok(Sent {
        status: status.parse()?,
        bytes: bytes.parse()?,
        range: dash(range),
        cache: dash(cache),
        path: path.to_owned(),
    })
}
