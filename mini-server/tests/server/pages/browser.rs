//! A browser without scripts, and what it finds in every page.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Answer, Server, form};

/// Somebody with a browser.
pub struct Browser<'a> {
    pub server: &'a Server,
    pub cookie: String,
}

impl<'a> Browser<'a> {
    pub fn stranger(server: &'a Server) -> Self {
        Self {
            server,
            cookie: String::new(),
        }
    }

    pub fn signed_in(server: &'a Server) -> Self {
        let mut browser = Self::stranger(server);
        let answer = browser.sign_in(&server.email, &server.password, "");
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    pub fn sign_in(&mut self, email: &str, password: &str, next: &str) -> Answer {
        let fields = [("email", email), ("password", password), ("next", next)];
        let answer = self.post("/sign-in", &fields);
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    pub fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut headers = vec![("accept", "text/html"), ("cookie", self.cookie.as_str())];
        headers.extend(more);
        self.server.connect().request(method, path, &headers, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A page that must be there, whole and confined.
    #[track_caller]
    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        check_page(path, &answer);
        text
    }

    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.server.url();
        let headers = [
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.send("POST", path, &headers, body.finish().as_bytes())
    }

    /// A form whose answer leads to another page; where to.
    #[track_caller]
    pub fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{path} {fields:?}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    pub fn upload(&self, artifact: &[u8], accept: &str) -> Answer {
        let body = form(&[("description", b"d"), ("artifact", artifact)]);
        self.upload_form(&body, accept)
    }

    pub fn upload_form(&self, body: &[u8], accept: &str) -> Answer {
        let origin = self.server.url();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("accept", accept),
            ("origin", origin.as_str()),
            ("content-type", "multipart/form-data; boundary=XyZ"),
        ];
        self.server
            .connect()
            .request("POST", "/releases", &headers, body)
    }
}

/// Whether a page is confined by its headers, well-formed, and of this server alone.
#[track_caller]
pub fn check_page(path: &str, answer: &Answer) {
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8"),
        "{path}"
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = std::str::from_utf8(&answer.body).unwrap();
    let odd = text.chars().find(|c| {
        c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c) || *c == '\u{200b}'
    });
    assert_eq!(odd, None, "{path} has a character that can do something");
    for (tag, attributes) in tags(path, text) {
        for (name, value) in attributes {
            assert!(
                !name.starts_with("on") && name != "style",
                "{path}: <{tag} {name}>"
            );
            if ["src", "href", "action", "formaction"].contains(&name.as_str()) {
                assert!(
                    value.starts_with('/') && !value.starts_with("//") || value.starts_with('#'),
                    "{path}: <{tag} {name}={value:?}>"
                );
            }
        }
        assert!(tag != "style" && tag != "iframe", "{path}: <{tag}>");
    }
    assert!(!text.contains("<script>"), "{path} has a script in it");
}

pub type Tag = (String, BTreeMap<String, String>);

/// The tags of a page, which must be closed in order.
#[track_caller]
pub fn tags(path: &str, text: &str) -> Vec<Tag> {
    const VOID: [&str; 4] = ["meta", "link", "input", "!DOCTYPE"];
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = end_of_tag(rest).unwrap_or_else(|| panic!("{path}: a tag without an end"));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{path}: </{name}>");
            continue;
        }
        let name = tag.split_whitespace().next().unwrap().to_owned();
        let attributes = attributes(&tag[name.len()..]);
        if let Some(id) = attributes.get("id") {
            assert!(
                ids.insert(id.clone()),
                "{path}: two elements are called {id}"
            );
        }
        if !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        found.push((name, attributes));
    }
    assert!(open.is_empty(), "{path}: {open:?} are not closed");
    found
}

fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

pub fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted.find('"').unwrap();
            value = quoted[..end].replace("&#38;", "&").replace("&amp;", "&");
            rest = &quoted[end + 1..];
        }
        found.insert(name, value);
        rest = rest.trim_start();
    }
    found
}
