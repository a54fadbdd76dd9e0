//! A device with a key of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{Answer, Json, Server};

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
