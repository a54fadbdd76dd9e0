//! Somebody with a role: with tokens for the API, with a cookie for the pages.

use serde_json::{Value, json};

use crate::harness::{Answer, Server};

/// A user of a server, signed in both ways.
pub struct Person {
    pub email: String,
    pub password: String,
    pub id: String,
    pub token: String,
    cookie: String,
}

impl Person {
    /// Adds a user by the command line, and signs in.
    pub fn new(server: &Server, email: &str, role: &str) -> Self {
        let made = server.done(&["user", "add", email, "--role", role, "--json"]);
        let made: Value = serde_json::from_str(&made).unwrap();
        let mut person = Self {
            email: email.to_owned(),
            password: made["password"].as_str().unwrap().to_owned(),
            id: String::new(),
            token: String::new(),
            cookie: String::new(),
        };
        person.sign_in(server);
        person.id = person
            .api(server, "GET", "/api/management/v1/useradm/users/me", ())
            .json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        person
    }

    /// The administrator that the server made.
    pub fn admin(server: &Server) -> Self {
        let mut person = Self {
            email: server.email.clone(),
            password: server.password.clone(),
            id: String::new(),
            token: String::new(),
            cookie: String::new(),
        };
        person.sign_in(server);
        person
    }

    /// Begins new sessions.
    pub fn sign_in(&mut self, server: &Server) {
        let answer = server.try_login(&self.email, &self.password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.token = answer.text();
        let origin = server.url();
        let headers = [
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([("email", &self.email), ("password", &self.password)]);
        let answer =
            server
                .connect()
                .request("POST", "/sign-in", &headers, form.finish().as_bytes());
        let cookie = answer.header("set-cookie").unwrap();
        self.cookie = cookie.split(';').next().unwrap().to_owned();
    }

    /// A request of the management API.
    pub fn api(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: impl Into<crate::harness::Json>,
    ) -> Answer {
        server.connect().with_token(method, path, &self.token, body)
    }

    /// A page.
    pub fn page(&self, server: &Server, path: &str) -> Answer {
        let headers = [("cookie", self.cookie.as_str())];
        server.connect().request("GET", path, &headers, b"")
    }

    /// A form that is sent from a page.
    pub fn form(&self, server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = server.url();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        server
            .connect()
            .request("POST", path, &headers, form.finish().as_bytes())
    }

    /// What a program of this person sends along, and what the browser does.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        [
            ("authorization", format!("Bearer {}", self.token)),
            ("cookie", self.cookie.clone()),
        ]
    }

    /// A personal access token of this person.
    #[track_caller]
    pub fn make_token(&self, server: &Server, name: &str, role: Option<&str>) -> String {
        let new = json!({"name": name, "expires_in": 3600, "role": role});
        let answer = self.api(
            server,
            "POST",
            "/api/management/v1/useradm/settings/tokens",
            new,
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}
