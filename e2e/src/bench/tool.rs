//! Single tools beside which an installation can be seen: each does one of its parts alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::active_root::{PASSIVE, TRUSTED};
use crate::compression::Compression;
use crate::inside::{BENCH, Inside};
use crate::lab::Lab;
use crate::measure::Cost;
use crate::workplace::remove_if_there;

/// A tool and what it is told to do, on the device.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// Its name in tables.
    pub(crate) name: String,
    command: Vec<String>,
}

impl Tool {
    /// All that have to do with installing `image`, which is compressed in these files.
    pub(crate) fn all(
        lab: &Lab,
        image: &Path,
        compressed: &[(Compression, PathBuf)],
    ) -> Result<Vec<Tool>> {
        let inside = |path: &Path| -> Result<String> {
            let name = path.file_name().context("a file has a name")?;
            Ok(format!("{BENCH}/{}", name.to_string_lossy()))
        };
        let tool = |name: &str, words: &[&str]| Tool {
            name: name.to_owned(),
            command: words.iter().map(ToString::to_string).collect(),
        };
        let image_inside = inside(image)?;
        let (from, to) = (format!("if={image_inside}"), format!("of={PASSIVE}"));
        let dd = ["dd", &from, &to, "bs=1M", "status=none", "conv=fsync"];
        let mut all = vec![
            tool("dd, through the cache", &dd),
            tool(
                "dd, past the cache",
                &[dd.as_slice(), &["oflag=direct"]].concat(),
            ),
            tool("sha256sum", &["sha256sum", &image_inside]),
        ];
        for (compression, file) in compressed {
            let file = inside(file)?;
            let words = [compression.undo(), &[&file]].concat();
            let mut one = tool(&format!("{} -dc", words.first().unwrap_or(&"")), &words);
            // What it writes is nobody's.
            one.command = [
                vec![
                    "sh".to_owned(),
                    "-c".to_owned(),
                    "exec \"$@\" > /dev/null".to_owned(),
                    "sh".to_owned(),
                ],
                one.command,
            ]
            .concat();
            all.push(one);
        }
        let name = image.file_name().context("an image has a name")?;
        let url = lab.web.url(&name.to_string_lossy());
        all.push(tool(
            "curl, the image over TLS",
            &[
                "curl",
                "--silent",
                "--fail",
                "--cacert",
                TRUSTED,
                "--output",
                "/dev/null",
                &url,
            ],
        ));
        Ok(all)
    }

    /// Lets it do that once.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Cost> {
        let log = lab.workplace.path("tool.log");
        remove_if_there(&log)?;
        let inside = Inside {
            root: lab.root.place().to_owned(),
            bench: lab.workplace.path(""),
            program: PathBuf::from("/usr/bin"),
            env: Vec::new(),
            measure: Some(log),
            listen: false,
            command: self.command.iter().map(Into::into).collect(),
        };
        let cost = inside.cost(lab.interrupt)?;
        anyhow::ensure!(cost.success, "{} does not work", self.name);
        Ok(cost)
    }
}
