//! Devices by the thousand, and how they get in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::client::{Connection, Load, drive, request};

/// How the operator of a server reaches it.
pub(crate) struct Operator {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) token: String,
}

/// Devices that are in.
pub(crate) struct Fleet {
    /// One poll of each: the version 2 of "what is there for me?".
    pub(crate) polls: Vec<Vec<u8>>,
    /// Durable enrolments per second.
    pub(crate) enrolments: f64,
}

impl Operator {
    fn headers(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// Asks for something; the answer is JSON, or nothing.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request(method, path, &self.headers(), body.as_bytes());
        let answer = Connection::open(self.address, &self.tls)?.ask(&request)?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        anyhow::ensure!(
            answer.status < 300,
            "{method} {path}: {} {text}",
            answer.status
        );
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    /// Lets `count` new devices in, whose identities begin with `name`.
    pub(crate) fn enrol(&self, name: &str, count: usize) -> Result<Fleet> {
        let knocks = knocks(name, count)?;
        // The first request of a device: its signature is verified, and it is in the database for good.
        let knocked = drive(self.address, &self.tls, &knocks, Load::Once, &[401])?;
        let headers = self.headers();
        let decisions: Vec<Vec<u8>> = self
            .waiting()?
            .into_iter()
            .map(|(id, set)| {
                let path = format!("/api/management/v2/devauth/devices/{id}/auth/{set}/status");
                request("PUT", &path, &headers, br#"{"status":"accepted"}"#)
            })
            .collect();
        drive(self.address, &self.tls, &decisions, Load::Once, &[204])?;
        let tokens = drive(self.address, &self.tls, &knocks, Load::Once, &[200])?;
        let polls = tokens
            .answers
            .iter()
            .map(|answer| poll(&String::from_utf8_lossy(&answer.body)));
        Ok(Fleet {
            polls: polls.collect(),
            enrolments: knocked.rate(),
        })
    }

    /// Devices that wait, each with the identifier of its key.
    fn waiting(&self) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for page in 1_u32.. {
            let path = format!(
                "/api/management/v2/devauth/devices?status=pending&per_page=500&page={page}"
            );
            let devices = self.ask("GET", &path, &Value::Null)?;
            let devices = devices.as_array().cloned().unwrap_or_default();
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(ToOwned::to_owned);
            for device in &devices {
                let id = text(device.get("id")).context("a device without an identifier")?;
                let set =
                    text(device.pointer("/auth_sets/0/id")).context("a device without a key")?;
                all.push((id, set));
            }
            if devices.len() < 500 {
                break;
            }
        }
        Ok(all)
    }

    /// Uploads an artifact.
    pub(crate) fn upload(&self, file: &Path) -> Result<()> {
        let content =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut body =
            b"--XyZ\r\nContent-Disposition: form-data; name=\"artifact\"; filename=\"a\"\r\n\r\n"
                .to_vec();
        body.extend(content);
        body.extend(b"\r\n--XyZ--\r\n");
        let path = "/api/management/v1/deployments/artifacts";
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{}Content-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: {}\r\n\r\n",
            self.headers(),
            body.len()
        );
        let mut connection = Connection::open(self.address, &self.tls)?;
        connection.send(head.as_bytes())?;
        let answer = connection.ask(&body)?;
        anyhow::ensure!(
            answer.status == 201,
            "the upload was answered {}",
            answer.status
        );
        Ok(())
    }
}

fn knocks(name: &str, count: usize) -> Result<Vec<Vec<u8>>> {
    let random = SystemRandom::new();
    let mut knocks = Vec::with_capacity(count);
    for n in 0..count {
        let failed = |_| anyhow::anyhow!("cannot make a key");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?;
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())
            .map_err(|err| anyhow::anyhow!("a key is refused: {err}"))?;
        let mut der = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
        der.extend(key.public_key().as_ref());
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        );
        let identity = json!({"mac": format!("{name}-{n}")}).to_string();
        let body = json!({"id_data": identity, "pubkey": pem}).to_string();
        let signature = STANDARD.encode(key.sign(body.as_bytes()));
        let headers = format!("X-MEN-Signature: {signature}\r\n");
        knocks.push(request(
            "POST",
            "/api/devices/v1/authentication/auth_requests",
            &headers,
            body.as_bytes(),
        ));
    }
    Ok(knocks)
}

/// The question of a device: is there anything for me?
fn poll(token: &str) -> Vec<u8> {
    let body = json!({
        "device_provides": {
            "artifact_name": "release-1", "device_type": "testboard", "rootfs-image.version": "release-1",
            "rootfs-image.checksum": "46ca895be3a18fb50c1c6b5a3bd2e97fb637b35a22924c2f3dea3cf09e9e2e74",
        },
        "update_control_map": true,
    });
    let path = "/api/devices/v2/deployments/device/deployments/next";
    let headers = format!("Authorization: Bearer {token}\r\n");
    request("POST", path, &headers, body.to_string().as_bytes())
}
