//! Ghost itself, the article's blog, fetched and built by npm: half a gibibyte, and minutes.

use super::Member;
use crate::cargo::Metadata;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERSION: &str = "5.99.1";

/// Where it stands in the walk's folder and in the container.
const NAME: &str = "ghost";

/// It writes below its content, which is the volume's. By the node that it was built for.
pub(super) const MEMBER: Member = Member {
    name: "blog",
    command: &[
        "sh",
        "-c",
        "cp -r /ghost/content /files/ && cd /ghost && PATH=/ghost/bin:$PATH NODE_ENV=production exec node index.js",
    ],
    file: (NAME, "/ghost"),
    ready: "Ghost booted",
};

/// Makes it known in the walk's folder; what a user would type for it.
pub(super) fn link(folder: &Path) -> Result<()> {
    let kept = make()?;
    let link = folder.join(NAME);
    std::os::unix::fs::symlink(&kept, &link).with_context(|| format!("link {}", kept.display()))
}

/// What was run for it, in words.
pub(super) fn shown() -> String {
    format!(
        "$ npm pack ghost@{VERSION} && tar --extract --file ghost-{VERSION}.tgz && mv package {NAME}\n\
         # in package.json: no devDependencies, and resolutions are npm's overrides\n\
         $ cd {NAME} && npm install --omit=dev --legacy-peer-deps\n\
         $ cat config.production.json\n{:#}",
        config()
    )
}

/// As its own documentation has it for SQLite; the content is on the volume.
fn config() -> Value {
    json!({
        "url": "http://localhost:8880/",
        "server": { "host": "127.0.0.1", "port": 2368 },
        "database": {
            "client": "sqlite3",
            "connection": { "filename": "/files/content/data/ghost.db" },
            "useNullAsDefault": true,
        },
        "mail": { "transport": "Direct" },
        "logging": { "transports": ["stdout"], "level": "info" },
        "paths": { "contentPath": "/files/content" },
    })
}

/// The folder that it is in; made once and kept.
fn make() -> Result<PathBuf> {
    let folder = Metadata::read()?.target_directory()?.join("walkthrough");
    let node = said("node", &["-p", "process.execPath"])?;
    let version = said("node", &["--version"])?;
    let kept = folder.join(format!("{NAME}-{VERSION}-node-{version}"));
    if kept.exists() {
        return Ok(kept);
    }
    eprintln!("fetching Ghost {VERSION} and building it, once");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let begun = tempfile::TempDir::with_prefix_in("ghost-", &folder).context("make a folder")?;
    let run = |program: &str, args: &[&str], folder: &Path| -> Result<()> {
        let output = Command::new(program)
            .args(args)
            .current_dir(folder)
            // Its compiled parts take node's headers from where node is, and fetch none.
            .env("npm_config_nodedir", prefix(&node))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or_default();
            bail!("{program} {}: {}: {last}", args.join(" "), output.status);
        }
        Ok(())
    };
    run("npm", &["pack", &format!("ghost@{VERSION}")], begun.path())?;
    let archive = format!("ghost-{VERSION}.tgz");
    run("tar", &["--extract", "--file", &archive], begun.path())?;
    let package = begun.path().join("package");
    installable(&package.join("package.json"))?;
    let install = [
        "install",
        "--omit=dev",
        "--legacy-peer-deps",
        "--no-audit",
        "--no-fund",
    ];
    run("npm", &install, &package)?;
    let bin = package.join("bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    std::fs::copy(&node, bin.join("node")).with_context(|| format!("copy {node}"))?;
    let path = package.join("config.production.json");
    std::fs::write(&path, config().to_string())
        .with_context(|| format!("write {}", path.display()))?;
    std::fs::rename(&package, &kept).with_context(|| format!("write {}", kept.display()))?;
    Ok(kept)
}

/// Above `bin/node`.
fn prefix(node: &str) -> &Path {
    let path = Path::new(node);
    path.ancestors().nth(2).unwrap_or(path)
}

/// Rewrites what npm cannot take as it is: a dependency of its developers that is fetched from
/// elsewhere, and what another manager calls resolutions.
fn installable(path: &Path) -> Result<()> {
    let read = || format!("read {}", path.display());
    let text = std::fs::read_to_string(path).with_context(read)?;
    let mut package: Value = serde_json::from_str(&text).with_context(read)?;
    let fields = package.as_object_mut().with_context(read)?;
    fields.remove("devDependencies");
    if let Some(resolutions) = fields.remove("resolutions") {
        fields.insert("overrides".to_owned(), resolutions);
    }
    std::fs::write(path, package.to_string()).with_context(|| format!("write {}", path.display()))
}

/// What a program says in one line.
fn said(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| {
        format!("run {program}\n  try: apt-get install npm libnode-dev g++ make python3")
    })?;
    ensure!(output.status.success(), "{program}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_cannot_take_is_rewritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("package.json");
        let package =
            json!({ "name": "x", "devDependencies": { "a": "1" }, "resolutions": { "b": "2" } });
        std::fs::write(&path, package.to_string()).expect("a file");
        installable(&path).expect("it is JSON");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let new: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(new, json!({ "name": "x", "overrides": { "b": "2" } }));
        std::fs::write(&path, "none").expect("a file");
        assert!(installable(&path).is_err());
        assert_eq!(prefix("/usr/bin/node"), Path::new("/usr"));
    }
}
