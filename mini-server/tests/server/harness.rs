//! A real server process, and those who talk to it: operators, devices, and whoever sends what nobody should.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tandem_artifact::{Compressor, Content, Draft, FileName, Writer};
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tandem-server");

/// How long anything may take that should come at once.
pub const SOON: Duration = Duration::from_secs(30);

/// A server with a data directory of its own.
pub struct Server {
    process: Option<Child>,
    pub address: SocketAddr,
    pub dir: TempDir,
    pub email: String,
    pub password: String,
    token: String,
    args: Vec<String>,
    out: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        Self::start_in(dir, args)
    }

    pub fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let mut server = Self {
            process: None,
            address: "127.0.0.1:0".parse().unwrap(),
            dir,
            email: String::new(),
            password: String::new(),
            token: String::new(),
            args: args.iter().map(ToString::to_string).collect(),
            out: Vec::new(),
        };
        server.launch("127.0.0.1:0");
        let last = |prefix: &str| {
            let line = server
                .out
                .iter()
                .find(|line| line.trim_start().starts_with(prefix));
            line.and_then(|line| line.split_whitespace().last())
                .unwrap_or_default()
                .to_owned()
        };
        let (email, password) = (last("e-mail "), last("password "));
        if !password.is_empty() {
            (server.email, server.password) = (email, password);
            server.token = server.login();
        }
        server
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// What the server has printed at its start.
    pub fn printed(&self) -> String {
        self.out.join("\n")
    }

    fn launch(&mut self, listen: &str) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut process = Command::new(PROGRAM)
            .arg("serve")
            .args(["--log-level", "debug"])
            .arg("--data")
            .arg(self.data())
            .args(["--listen", listen])
            .args(&self.args)
            .stdout(Stdio::piped())
            .stderr(log)
            .env("RUST_BACKTRACE", "1")
            .spawn()
            .unwrap();
        self.out.clear();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the server did not start:\n{}", self.log());
            };
            if let Some(url) = line.strip_prefix("listening on https://") {
                self.address = url.parse().unwrap();
                break;
            }
            self.out.push(line);
        }
        self.process = Some(process);
    }

    /// Starts it again on the same address, after it was stopped or killed.
    pub fn restart(&mut self) {
        let listen = self.address.to_string();
        self.launch(&listen);
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// kill -9
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM
    pub fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until it has stopped by itself; whether it was content.
    pub fn wait(&mut self) -> bool {
        let mut process = self.process.take().unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status.success();
            }
            assert!(begun.elapsed() < SOON, "the server does not stop");
            pause();
        }
    }

    /// Its resident memory, bytes: the highest so far.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let found = status
            .lines()
            .find_map(|found| found.strip_prefix(line))
            .unwrap();
        found
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    /// A verb on the data directory.
    pub fn verb(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(args)
            .arg("--data")
            .arg(self.data())
            .output()
            .unwrap()
    }

    /// The same, which has to be done; what it prints.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let out = self.verb(args);
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// The certificate that clients trust.
    pub fn authority(&self) -> PathBuf {
        self.data().join("tls/ca.crt")
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A connection.
    pub fn connect(&self) -> Http {
        Http::connect(self.address, &self.authority())
    }

    /// One request by nobody.
    pub fn nobody(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.connect().request(method, path, &[], body)
    }

    /// One request by the administrator.
    pub fn admin(&self, method: &str, path: &str, body: impl Into<Json>) -> Answer {
        self.connect().with_token(method, path, &self.token, body)
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn login(&self) -> String {
        let answer = self.try_login(&self.email, &self.password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        answer.text()
    }

    pub fn try_login(&self, email: &str, password: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("{email}:{password}")));
        let headers = [
            ("authorization", basic.as_str()),
            ("content-type", "application/json"),
        ];
        self.connect().request(
            "POST",
            "/api/management/v1/useradm/auth/login",
            &headers,
            b"",
        )
    }

    /// Uploads an artifact as mender-cli does.
    pub fn upload(&self, artifact: &[u8]) -> Answer {
        self.upload_form(&form(&[
            ("size", artifact.len().to_string().as_bytes()),
            ("description", b"d"),
            ("artifact", artifact),
        ]))
    }

    pub fn upload_form(&self, form: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "multipart/form-data; boundary=XyZ"),
        ];
        self.connect().request(
            "POST",
            "/api/management/v1/deployments/artifacts",
            &headers,
            form,
        )
    }

    /// Uploads an artifact that must be taken; its identifier.
    #[track_caller]
    pub fn uploaded(&self, artifact: &[u8]) -> String {
        let answer = self.upload(artifact);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.location()
    }

    /// Deploys an artifact to devices; the identifier of the deployment.
    #[track_caller]
    pub fn deploy(&self, artifact_name: &str, devices: &[&Device]) -> String {
        let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
        let new = json!({"name": "d", "artifact_name": artifact_name, "devices": ids});
        let answer = self.admin("POST", "/api/management/v1/deployments/deployments", new);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.location()
    }

    /// A device that is let in.
    pub fn device(&self, name: &str) -> Device {
        let mut device = Device::new(name);
        assert_eq!(device.authenticate(self).status, 401);
        self.accept(&mut device);
        assert_eq!(device.authenticate(self).status, 200);
        device
    }

    /// Lets a device in that has knocked.
    #[track_caller]
    pub fn accept(&self, device: &mut Device) {
        let (id, auth_set) = self.find(device);
        device.id = id;
        let path = format!(
            "/api/management/v2/devauth/devices/{}/auth/{auth_set}/status",
            device.id
        );
        let answer = self.admin("PUT", &path, json!({"status": "accepted"}));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// The identifiers of a device and of the key that it uses.
    #[track_caller]
    pub fn find(&self, device: &Device) -> (String, String) {
        let devices = self
            .admin("GET", "/api/management/v2/devauth/devices?per_page=500", ())
            .json();
        for one in devices.as_array().unwrap() {
            for set in one["auth_sets"].as_array().unwrap() {
                if set["pubkey"] == device.pem().as_str() && one["identity_data"] == device.identity
                {
                    return (
                        one["id"].as_str().unwrap().to_owned(),
                        set["id"].as_str().unwrap().to_owned(),
                    );
                }
            }
        }
        panic!("the device is not known");
    }

    /// The status of a deployment on a device.
    pub fn status_on(&self, deployment: &str, device: &Device) -> Value {
        let path = format!("/api/management/v1/deployments/deployments/{deployment}/devices");
        let all = self.admin("GET", &path, ()).json();
        let found = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["id"] == device.id.as_str());
        found.cloned().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

/// A body.
pub struct Json(Vec<u8>);

impl From<()> for Json {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// A connection to a server.
pub struct Http {
    pub stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr, authority: &Path) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(100)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(tls(authority), name).unwrap();
        Self {
            stream: BufReader::new(StreamOwned::new(connection, stream)),
            host: address.to_string(),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush())
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || ["POST", "PUT", "PATCH"].contains(&method) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let sent = self.send(head.as_bytes()).and_then(|()| self.send(body));
        match self.answer(method == "HEAD") {
            Ok(answer) => answer,
            Err(err) => panic!("no answer to {method} {path}: {err} (sent: {sent:?})"),
        }
    }

    pub fn with_token(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: impl Into<Json>,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.request(method, path, &headers, &body.into().0)
    }

    /// The next answer.
    pub fn answer(&mut self, head_only: bool) -> std::io::Result<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if head_only || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16).unwrap();
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk)?;
                self.line()?;
                if size == 0 {
                    break;
                }
                answer.body.extend(chunk);
            }
        } else {
            let length = answer
                .header("content-length")
                .expect("a length")
                .parse()
                .unwrap();
            answer.body.resize(length, 0);
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Status and headers of the next answer; the body is still to come.
    pub fn head(&mut self) -> std::io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("a status line, not {line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok((status, headers));
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {} {}", self.status, self.text()))
    }

    /// The last part of the address of what was made.
    #[track_caller]
    pub fn location(&self) -> String {
        self.header("location")
            .expect("a location")
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    }
}

/// What trusts this certificate.
pub fn tls(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A device with a key of its own.
pub struct Device {
    pub identity: Value,
    key: Ed25519KeyPair,
    pub token: String,
    pub id: String,
}

impl Device {
    pub fn new(name: &str) -> Self {
        Self::with_identity(json!({"mac": name}))
    }

    pub fn with_identity(identity: Value) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self {
            identity,
            key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap(),
            token: String::new(),
            id: String::new(),
        }
    }

    /// Its public key, PEM.
    pub fn pem(&self) -> String {
        let mut der = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
        der.extend(self.key.public_key().as_ref());
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        )
    }

    /// The body of its auth request.
    pub fn auth_request(&self) -> Vec<u8> {
        let body =
            json!({"id_data": self.identity.to_string(), "pubkey": self.pem(), "tenant_token": ""});
        format!("{body}\n").into_bytes()
    }

    pub fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(self.key.sign(body))
    }

    /// Asks for a token, and keeps it if there is one.
    pub fn authenticate(&mut self, server: &Server) -> Answer {
        let body = self.auth_request();
        let signature = self.sign(&body);
        let headers = [
            ("content-type", "application/json"),
            ("authorization", "Bearer whatever"),
            ("X-Men-Signature", signature.as_str()),
        ];
        let answer = server.connect().request(
            "POST",
            "/api/devices/v1/authentication/auth_requests",
            &headers,
            &body,
        );
        if answer.status == 200 {
            self.token = answer.text();
        }
        answer
    }

    pub fn request(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: impl Into<Json>,
    ) -> Answer {
        server.connect().with_token(method, path, &self.token, body)
    }

    /// Asks what to do.
    pub fn next(&self, server: &Server, artifact_name: &str) -> Answer {
        let provides = json!({"device_provides": {"artifact_name": artifact_name, "device_type": "testboard"}});
        self.request(server, "POST", tandem_api::device::NEXT_V2, provides)
    }

    pub fn report(&self, server: &Server, deployment: &str, status: &str) -> Answer {
        let path = tandem_api::device::status_path(deployment);
        self.request(server, "PUT", &path, json!({"status": status}))
    }
}

/// A form with these fields.
pub fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in fields {
        let file = if *name == "artifact" {
            "; filename=\"../../a.mender\""
        } else {
            ""
        };
        form.extend(
            format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .into_bytes(),
        );
        form.extend(*content);
        form.extend(b"\r\n");
    }
    form.extend(b"--XyZ--\r\n");
    form
}

/// An artifact for the devices of the tests.
pub fn artifact(name: &str) -> Vec<u8> {
    build(name, &["testboard"], &[], 10_000)
}

/// An artifact.
pub fn build(name: &str, device_types: &[&str], depends: &[(&str, &str)], size: usize) -> Vec<u8> {
    let draft = Draft {
        name: name.to_owned(),
        device_types: device_types.iter().map(ToString::to_string).collect(),
        depends: depends
            .iter()
            .map(|(key, value)| (key.to_string(), vec![value.to_string()]))
            .collect(),
        payload_type: Some("okmod".to_owned()),
        provides: BTreeMap::from([("rootfs-image.okmod.version".to_owned(), name.to_owned())]),
        clears_provides: vec!["rootfs-image.okmod.*".to_owned()],
        meta_data: Some(br#"{"k":"v"}"#.to_vec()),
        ..Draft::default()
    };
    // Not compressible, so that the artifact has this size as well.
    let mut state = 1_u64;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect();
    let file = Content::measure(
        FileName::parse("payload.bin").unwrap(),
        std::io::Cursor::new(payload),
    )
    .unwrap();
    let mut out = std::io::Cursor::new(Vec::new());
    Writer::new(&draft, vec![file], Compressor::None, None)
        .unwrap()
        .write(&mut out)
        .unwrap();
    out.into_inner()
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "{what} does not come about");
        pause();
    }
}

/// A moment in which something else may go on.
pub fn pause() {
    // Nobody says when it has happened: it has to be asked for again.
    std::thread::park_timeout(Duration::from_millis(20));
}

/// Whether a program of somebody else is there. Where it must be, a missing one is a failure.
pub fn installed(tool: &str) -> bool {
    let found = Command::new("which")
        .arg(tool)
        .output()
        .is_ok_and(|out| out.status.success());
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(found || !required, "{tool} is not installed");
    if !found {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    found
}

/// Writes a file.
pub fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(content).unwrap();
}
