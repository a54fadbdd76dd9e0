//! A real server process, with its operator.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tandem_places::ObjectStore;
use tempfile::TempDir;

use super::postgres::{self, Database};
use super::{Answer, Device, Http, Json, SOON, form, pause};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tandem-server");

/// A server with a data directory of its own.
pub struct Server {
    process: Option<Child>,
    pub address: SocketAddr,
    pub dir: TempDir,
    pub email: String,
    pub password: String,
    token: String,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    out: Vec<String>,
    /// Where its database is, if not in its data directory.
    database: Option<Arc<Database>>,
    /// Where its artifacts are, if not with it.
    store: Option<ObjectStore>,
}

/// What stands before the names of objects in a server's own store.
const PREFIX: &str = "artifacts/of-one";

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        Self::start_in(dir, args)
    }

    /// One whose artifacts are where `./check s3` says: with it, or in a store of its own.
    pub fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let database = postgres::wanted().then(postgres::database).map(Arc::new);
        if std::env::var_os("TANDEM_ARTIFACTS_IN").is_some_and(|place| place == "s3") {
            let store = ObjectStore::start(&dir.path().join("store")).unwrap();
            return Self::start_storing_in(dir, store, args);
        }
        Self::start_on(dir, args, database)
    }

    /// One with its artifacts in `store`.
    pub fn start_storing_in(dir: TempDir, store: ObjectStore, args: &[&str]) -> Self {
        let place = store.place(PREFIX);
        let args = [&["--artifacts", &place], args].concat();
        let mut server = Self::start_among(dir, &args, store.environment());
        server.store = Some(store);
        server
    }

    /// One with this database, which others may have, too.
    pub fn start_on(dir: TempDir, args: &[&str], database: Option<Arc<Database>>) -> Self {
        Self::start_as(dir, args, Vec::new(), database)
    }

    /// One with these variables in its environment.
    pub fn start_among(dir: TempDir, args: &[&str], environment: Vec<(String, String)>) -> Self {
        let database = postgres::wanted().then(postgres::database).map(Arc::new);
        Self::start_as(dir, args, environment, database)
    }

    fn start_as(
        dir: TempDir,
        args: &[&str],
        environment: Vec<(String, String)>,
        database: Option<Arc<Database>>,
    ) -> Self {
        let mut server = Self {
            process: None,
            address: "127.0.0.1:0".parse().unwrap(),
            dir,
            email: String::new(),
            password: String::new(),
            token: String::new(),
            args: args.iter().map(ToString::to_string).collect(),
            environment,
            out: Vec::new(),
            database,
            store: None,
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

    /// Another process on the same database, with the same artifacts, as behind a load balancer.
    pub fn another(&self) -> Self {
        let artifacts = self.data().join("artifacts");
        let args = ["--artifacts", artifacts.to_str().unwrap()];
        let mut other = Self::start_on(TempDir::new().unwrap(), &args, self.database.clone());
        other.email.clone_from(&self.email);
        other.password.clone_from(&self.password);
        other.token.clone_from(&self.token);
        other
    }

    /// Its database, if that is not in its data directory.
    pub fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    /// The same, to be kept.
    pub fn shared_database(&self) -> &Arc<Database> {
        self.database.as_ref().unwrap()
    }

    /// Starts it again, with its database there from now on.
    pub fn move_to(&mut self, database: Arc<Database>) {
        self.database = Some(database);
        self.restart();
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
        let mut process = self
            .command()
            .arg("serve")
            .args(["--log-level", "debug"])
            .arg("--data")
            .arg(self.data())
            .args(["--listen", listen])
            .args(&self.args)
            .envs(self.environment.iter().cloned())
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

    /// What it is to be started with from now on.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(ToString::to_string).collect();
    }

    /// What it is to have in its environment from now on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// What it has in its environment.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The store with its artifacts.
    pub fn store(&mut self) -> &mut ObjectStore {
        self.store.as_mut().unwrap()
    }

    /// How many artifacts are kept, wherever that is.
    pub fn kept(&self) -> usize {
        match &self.store {
            None => std::fs::read_dir(self.data().join("artifacts"))
                .unwrap()
                .count(),
            Some(store) => store.objects(PREFIX).unwrap().len(),
        }
    }

    /// The bytes of an artifact, wherever they are kept.
    #[track_caller]
    pub fn stored(&self, id: &str) -> Vec<u8> {
        let kept = match &self.store {
            None => self.data().join("artifacts").join(id),
            Some(store) => {
                let objects = store.objects(&format!("{PREFIX}/{id}")).unwrap();
                let [one] = objects.as_slice() else {
                    panic!("{objects:?}");
                };
                one.clone()
            }
        };
        std::fs::read(kept).unwrap()
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

    /// The program, which is told where the database is.
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        match &self.database {
            Some(database) => command.env("TANDEM_DATABASE", database.url()),
            None => command.env_remove("TANDEM_DATABASE"),
        };
        command
    }

    /// Runs SQL on the database of a server that does not run.
    pub fn sql(&self, script: &str) {
        match &self.database {
            Some(database) => database.run(script),
            None => postgres::block_on(async {
                let url = format!("sqlite://{}", self.data().join("tandem.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(script))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }),
        }
    }

    /// A verb on the data directory.
    pub fn verb(&self, args: &[&str]) -> Output {
        self.command()
            .args(args)
            .arg("--data")
            .arg(self.data())
            .envs(self.environment.iter().cloned())
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
