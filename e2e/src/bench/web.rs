//! nginx, from which artifacts come over TLS.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interrupt::{Daemon, Interrupt};
use crate::workplace::{Workplace, remove_if_there, write};

/// A running server of the workplace's files, known as `localhost`.
#[derive(Debug)]
pub(crate) struct Web {
    port: u16,
    /// A line for each answer: the bytes sent.
    log: PathBuf,
    /// Whom to trust.
    pub(crate) certificate: PathBuf,
    _server: Daemon,
}

/// Makes an authority `ca.crt`, and `server.crt` and `server.key` of `localhost`, which it vouches for.
fn certify(dir: &Path, interrupt: &Interrupt) -> Result<()> {
    let openssl = |words: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).args(more).current_dir(dir);
        interrupt.run(&mut command).map(drop)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let name = |name: &'static str| ["-subj", name];
    openssl(
        &format!("req -x509 -days 30 {key} -keyout ca.key -out ca.crt"),
        &name("/CN=bench"),
    )?;
    openssl(
        &format!("req {key} -keyout server.key -out server.csr"),
        &name("/CN=localhost"),
    )?;
    write(&dir.join("server.ext"), "subjectAltName=DNS:localhost\n")?;
    openssl(
        "x509 -req -days 30 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile server.ext -out server.crt",
        &[],
    )
}

/// How often, and how long in all, to look whether something has come.
const STEP: Duration = Duration::from_millis(20);
const STEPS: usize = 250;

impl Web {
    /// Starts it.
    pub(crate) fn start(workplace: &Workplace, interrupt: &Interrupt) -> Result<Web> {
        let dir = workplace.path("web");
        fs::create_dir_all(&dir)?;
        certify(&dir, interrupt)?;
        let log = dir.join("sent");
        remove_if_there(&log)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (here, files) = (dir.display(), workplace.path(""));
        let configuration = dir.join("nginx.conf");
        write(
            &configuration,
            format!(
                "daemon off; user root; worker_processes 1; pid {here}/pid;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ log_format sent $bytes_sent; access_log {} sent; sendfile on;\n\
                 client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;\n\
                 uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;\n\
                 server {{ listen 127.0.0.1:{port} ssl; root {};\n\
                 ssl_certificate {here}/server.crt; ssl_certificate_key {here}/server.key; }} }}\n",
                log.display(),
                files.display(),
            ),
        )?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&configuration);
        command.arg("-e").arg(dir.join("errors"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let server = Daemon::start(&mut command).context("Debian: nginx-light")?;
        let web = Web {
            port,
            log,
            certificate: dir.join("ca.crt"),
            _server: server,
        };
        for _ in 0..STEPS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(web);
            }
            interrupt.pause(STEP)?;
        }
        bail!("nginx does not come up: see {here}/errors");
    }

    /// The address of a file in the workplace.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of answers, heads included, that have been sent so far.
    pub(crate) fn sent(&self) -> Result<u64> {
        let log = fs::read_to_string(&self.log)?;
        let bytes = log.lines().map(str::parse::<u64>);
        let sent: Result<u64, _> = bytes.sum();
        Ok(sent?)
    }

    /// The same, once there is more than `before`: a line is written when an answer is over, which
    /// whoever has read it to its end knows a moment earlier.
    pub(crate) fn sent_after(&self, before: u64, interrupt: &Interrupt) -> Result<u64> {
        for _ in 0..STEPS {
            let sent = self.sent()?;
            if sent > before {
                return Ok(sent);
            }
            interrupt.pause(STEP)?;
        }
        bail!("nginx has sent nothing");
    }
}
