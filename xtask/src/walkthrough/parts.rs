//! What the pod is made of: a root file system of the distribution's packages, nginx's
//! configuration, a blog.

use super::terminal::{Terminal, typed};
use super::{Member, ghost};
use crate::cargo::Metadata;
use crate::packages;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SUITE: &str = "bookworm";

/// What the members run, and a shell beside it.
const PACKAGES: &str = "base-files,base-passwd,coreutils,dash,hostname,nginx-light,nodejs,procps";

/// Scripts of packages are not run: the one thing that is missed of theirs are the users.
const USERS: &str = r#"--extract-hook=for it in passwd group; do cp "$1/usr/share/base-passwd/$it.master" "$1/etc/$it"; done"#;

/// What the page must say.
pub(super) const TITLE: &str = "<title>Ghost</title>";

/// The article's proxy.
const NGINX: &str = "\
error_log stderr notice;
events { worker_connections 1024; }
http {
    access_log /dev/stdout combined;
    server {
        listen 80 default_server;
        server_name example.com www.example.com;
        location / {
            proxy_pass http://127.0.0.1:2368;
        }
    }
}
";

/// Of one page, on the port that Ghost listens on.
const BLOG: &str = r#"const http = require("node:http");

const page = `<!doctype html>
<title>Ghost</title>
<h1>Thoughts from inside a pod</h1>
`;

const server = http.createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(page);
});

server.listen(2368, "127.0.0.1", () => {
  console.log("blog: listening on 127.0.0.1:2368");
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => process.exit(0));
}
"#;

/// The root file system of the members, an archive in the folder.
pub(super) const TREE: &str = "tree.tar";
/// The pause, as `docker save` writes it.
pub(super) const PAUSE: &str = "pause.tar";

/// What images and members are made of lies in the folder.
pub(super) struct Parts {
    /// [`PAUSE`] does too: the engine has none of its own.
    pub(super) loads_pause: bool,
    /// The blog is Ghost itself.
    ghost: bool,
}

impl Parts {
    /// Writes what members read into `folder`, which commands are run in.
    pub(super) fn make(folder: &Path, loads_pause: bool, ghost: bool) -> Result<Self> {
        for (name, text) in [("nginx.conf", NGINX), ("blog.js", BLOG)] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        // Where it is kept is of no interest.
        let (tree, link) = (tree()?, folder.join(TREE));
        std::os::unix::fs::symlink(&tree, &link)
            .with_context(|| format!("link {}", tree.display()))?;
        if ghost {
            ghost::link(folder)?;
        }
        Ok(Self { loads_pause, ghost })
    }

    /// What is behind nginx.
    pub(super) fn blog(&self) -> &'static Member {
        if self.ghost {
            &ghost::MEMBER
        } else {
            &super::BLOG
        }
    }

    /// Shows them.
    pub(super) fn show(&self, terminal: &mut Terminal) {
        terminal.print(&format!("$ {}", typed(&words(TREE))));
        terminal.print(&format!("$ cat nginx.conf\n{NGINX}"));
        if self.ghost {
            terminal.print(&ghost::shown());
        } else {
            terminal.print(&format!("$ cat blog.js\n{BLOG}"));
        }
    }
}

impl Parts {
    /// The tree as an image for engines that take no bare tree: what `docker save` writes. Its name
    /// in the folder.
    pub(super) fn archive(terminal: &mut Terminal, name: &str) -> Result<String> {
        let to = "members.tar";
        let tree = terminal.folder().join(TREE);
        let sum = terminal.quietly(&["sha256sum", &tree.display().to_string()])?;
        let digest = sum.split_whitespace().next().unwrap_or_default();
        let config = json!({
            "architecture": crate::platform::host()?.architecture,
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = json!([{
            "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"],
        }]);
        let path = terminal.folder().join(to);
        let write = || -> std::io::Result<()> {
            let mut archive = tar::Builder::new(std::fs::File::create(&path)?);
            for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
                let bytes = value.to_string();
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                archive.append_data(&mut header, name, bytes.as_bytes())?;
            }
            archive.append_file("layer.tar", &mut std::fs::File::open(&tree)?)?;
            archive.finish()
        };
        terminal.print(&format!(
            "# {to}: {TREE} as the one layer of an image, in the form of docker save"
        ));
        write().with_context(|| format!("write {}", path.display()))?;
        Ok(to.to_owned())
    }
}

fn words(to: &str) -> Vec<&str> {
    let exclude = [
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
    ];
    let mut words = vec!["mmdebstrap", "--variant=extract", "--include", PACKAGES];
    words.extend(exclude);
    words.extend([USERS, SUITE, to]);
    words
}

/// The tree; made once and kept, for the archive of packages may be far.
pub(super) fn tree() -> Result<PathBuf> {
    let folder = Metadata::read()?.target_directory()?.join("walkthrough");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    // Another list is another tree.
    let kept = folder.join(format!("{SUITE}-{}.tar", PACKAGES.replace(',', "-")));
    if kept.exists() {
        return Ok(kept);
    }
    packages::ensure(&["mmdebstrap"])?;
    eprintln!("unpacking {SUITE}'s nginx-light and nodejs, once");
    let begun = folder.join(format!("{}.tar", std::process::id()));
    let to = begun.display().to_string();
    let (program, args) = ("mmdebstrap", words(&to));
    let output = Command::new(program)
        .arg("--quiet")
        .args(args.iter().skip(1))
        .stdin(Stdio::null())
        .output()
        .context("run mmdebstrap")?;
    if !output.status.success() {
        let _ = std::fs::remove_file(&begun);
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or_default();
        anyhow::bail!("mmdebstrap: {}: {last}", output.status);
    }
    std::fs::rename(&begun, &kept).with_context(|| format!("write {}", kept.display()))?;
    Ok(kept)
}
