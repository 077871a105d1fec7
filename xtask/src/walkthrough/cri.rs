//! What a kubelet does, by the Container Runtime Interface; shown as the commands of `crictl`,
//! which need not be installed: their requests are sent by this task.

mod api;
mod wire;

use super::parts::Parts;
use super::terminal::{Terminal, Unavailable, typed};
use super::{Asked, DEADLINE, Engine, Member, VOLUME};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use api::{Call, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// containerd's.
const SOCKET: &str = "/run/containerd/containerd.sock";
const HINT: &str = "start containerd, or have CONTAINER_RUNTIME_ENDPOINT name the runtime's socket";
/// What the pod is found by.
const LABEL: &str = "pause-walkthrough";

pub(super) struct Cri {
    client: Client,
    /// Its pause must be what the runtime is configured for.
    asked: Asked,
    pod: Value,
    /// The sandbox's id.
    sandbox: String,
    /// Of each member: id, and how often it was made.
    members: BTreeMap<&'static str, (String, u32)>,
}

impl Cri {
    pub(super) fn new(asked: Asked, folder: &Path) -> Result<Self> {
        Ok(Self {
            client: Client {
                socket: socket()?,
                folder: folder.to_owned(),
            },
            asked,
            pod: Value::Null,
            sandbox: String::new(),
            members: BTreeMap::new(),
        })
    }

    fn image(&self) -> String {
        format!("localhost/members-{}:1", self.asked.own)
    }

    /// Prints a command of crictl's and what came, and makes its request.
    fn crictl(
        &self,
        terminal: &mut Terminal,
        shown: &[&str],
        call: &Call,
        asked: &Value,
    ) -> Result<Value> {
        let shown: Vec<&str> = ["crictl"].iter().chain(shown).copied().collect();
        terminal.print(&format!("$ {}", typed(&shown)));
        self.client.call(call, asked)
    }

    fn ctr(&self, args: &[&str]) -> Vec<String> {
        let mut ctr = vec!["ctr"];
        if self.client.socket != SOCKET {
            ctr.extend(["--address", &self.client.socket]);
        }
        ctr.extend(["--namespace", "k8s.io", "images"]);
        ctr.iter()
            .chain(args)
            .map(|word| (*word).to_owned())
            .collect()
    }

    /// The id and the shorter form that crictl takes too.
    fn member_id(&self, member: &Member) -> Result<&str> {
        let known = self.members.get(member.name);
        let (id, _) = known.with_context(|| format!("{} was not made", member.name))?;
        Ok(id)
    }

    fn pod(&self, folder: &Path) -> Value {
        let mut pod = json!({
            "metadata": {
                "name": "pod",
                "uid": format!("{LABEL}-{}", self.asked.own),
                "namespace": "default",
            },
            "hostname": "pod",
            "log_directory": folder.join("logs"),
            "port_mappings": [{ "protocol": 0, "container_port": 80, "host_port": self.asked.port }],
            "labels": { LABEL: self.asked.own.to_string() },
            "linux": {
                "security_context": { "namespace_options": { "network": 0, "pid": 0, "ipc": 0 } },
            },
        });
        if let Some(cgroup) = &self.asked.cgroup {
            pod["linux"]["cgroup_parent"] = json!(cgroup);
        }
        pod
    }

    fn container(&self, folder: &Path, member: &Member, attempt: u32) -> Value {
        let (file, inside) = member.file;
        json!({
            "metadata": { "name": member.name, "attempt": attempt },
            "image": { "image": self.image() },
            "command": member.command,
            "mounts": [
                { "container_path": inside, "host_path": folder.join(file), "readonly": true },
                { "container_path": VOLUME, "host_path": folder.join("files") },
            ],
            "log_path": format!("{}.log", member.name),
            "linux": { "security_context": { "namespace_options": { "network": 0, "pid": 0, "ipc": 0 } } },
        })
    }

    /// Waits until the runtime has heard of the image that containerd was given.
    fn await_image(&self) -> Result<()> {
        let begun = Instant::now();
        let asked = json!({ "image": { "image": self.image() } });
        while self.client.call(&api::IMAGE, &asked)?["image"]["id"].is_null() {
            ensure!(
                begun.elapsed() < DEADLINE,
                "the runtime does not see {}",
                self.image()
            );
        }
        Ok(())
    }

    /// Removes what an earlier process made.
    pub(super) fn sweep_of(own: u32) -> Result<()> {
        let folder = TempDir::with_prefix("cri-").context("make a temporary folder")?;
        let asked = Asked {
            own,
            port: 0,
            pause: None,
            cgroup: None,
        };
        let this = Self::new(asked, folder.path())?;
        let filter = json!({ "filter": { "label_selector": { LABEL: own.to_string() } } });
        let pods = this.client.call(&api::PODS, &filter)?;
        let one = pods["items"]
            .is_object()
            .then(|| vec![pods["items"].clone()]);
        let all = one
            .or_else(|| pods["items"].as_array().cloned())
            .unwrap_or_default();
        for pod in all {
            let id = json!({ "pod_sandbox_id": pod["id"] });
            this.client.call(&api::STOP_POD, &id)?;
            this.client.call(&api::REMOVE_POD, &id)?;
        }
        let remove = this.ctr(&["rm", "--sync", &this.image()]);
        let (program, args) = remove.split_first().context("a command")?;
        Command::new(program)
            .args(args)
            .status()
            .context("run ctr")?;
        Ok(())
    }
}

fn socket() -> Result<String> {
    let endpoint = std::env::var("CONTAINER_RUNTIME_ENDPOINT").unwrap_or_default();
    if endpoint.is_empty() {
        return Ok(SOCKET.to_owned());
    }
    let path = endpoint.strip_prefix("unix://").unwrap_or(&endpoint);
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let cause = format!("the runtime is at {endpoint}, which is no unix:// socket");
    Err(anyhow!(Unavailable::new(cause, HINT)))
}

impl Engine for Cri {
    fn sweep(&self) -> String {
        // The shell that runs it is the keeper's.
        let own = self.asked.own;
        format!("/proc/$PPID/exe walkthrough --engine cri --sweep {own}")
    }

    fn greet(&self, terminal: &mut Terminal) -> Result<()> {
        let unavailable =
            |error: anyhow::Error| anyhow!(Unavailable::new(format!("{error:#}"), HINT));
        let version = self
            .client
            .call(&api::VERSION, &json!({}))
            .map_err(unavailable)?;
        let of = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
        terminal.print(&format!("{} {}", of("runtime_name"), of("runtime_version")));
        let ctr = ["ctr", "--address", &self.client.socket, "version"];
        terminal.ask(
            &ctr,
            "install ctr, which comes with containerd and gives it an image",
        )?;
        let status = self
            .client
            .call(&api::STATUS, &json!({ "verbose": true }))?;
        let configured = sandbox_image(&status);
        let configured = configured
            .as_deref()
            .unwrap_or("an image that it does not name");
        if let Some(asked) = &self.asked.pause
            && asked != configured
        {
            let cause = format!("its pods are held by {configured}, not by {asked}");
            return Err(anyhow!(Unavailable::new(
                cause,
                "set sandbox_image in containerd's configuration"
            )));
        }
        terminal.print(&format!("sandbox_image: {configured}"));
        Ok(())
    }

    fn load(&mut self, terminal: &mut Terminal, _: &Parts) -> Result<()> {
        let archive = Parts::archive(terminal, &self.image())?;
        terminal.run(&self.ctr(&["import", "--no-unpack", &archive]))?;
        self.await_image()?;
        let folder = terminal.folder().to_owned();
        for name in ["logs", "files"] {
            let path = folder.join(name);
            std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        }
        Ok(())
    }

    fn pause(&mut self, terminal: &mut Terminal) -> Result<()> {
        let folder = terminal.folder().to_owned();
        self.pod = self.pod(&folder);
        terminal.show_json("pod.json", &self.pod);
        let asked = json!({ "config": self.pod });
        let answer = self.crictl(terminal, &["runp", "pod.json"], &api::RUN, &asked)?;
        self.sandbox = text(&answer, "pod_sandbox_id")?;
        terminal.print(&self.sandbox);
        Ok(())
    }

    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let attempt = self
            .members
            .get(member.name)
            .map_or(0, |(_, attempt)| attempt + 1);
        let folder = terminal.folder().to_owned();
        let config = self.container(&folder, member, attempt);
        let file = format!("{}.json", member.name);
        terminal.show_json(&file, &config);
        let asked = json!({
            "pod_sandbox_id": self.sandbox,
            "config": config,
            "sandbox_config": self.pod,
        });
        let shown = ["create", short(&self.sandbox), &file, "pod.json"];
        let answer = self.crictl(terminal, &shown, &api::CREATE, &asked)?;
        let id = text(&answer, "container_id")?;
        terminal.print(&id);
        let start = json!({ "container_id": id });
        self.crictl(terminal, &["start", short(&id)], &api::START, &start)?;
        self.members.insert(member.name, (id, attempt));
        Ok(())
    }

    /// As a kubelet does: a container of CRI is started once.
    fn restart(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let id = self.member_id(member)?.to_owned();
        let stop = json!({ "container_id": id, "timeout": 10 });
        self.crictl(
            terminal,
            &["stop", "--timeout", "10", short(&id)],
            &api::STOP,
            &stop,
        )?;
        let remove = json!({ "container_id": id });
        self.crictl(terminal, &["rm", short(&id)], &api::REMOVE, &remove)?;
        self.member(terminal, member)
    }

    fn exec(&self, terminal: &mut Terminal, member: &Member, command: &[&str]) -> Result<String> {
        let id = self.member_id(member)?;
        let shown = [&["exec", short(id)][..], command].concat();
        let asked = json!({ "container_id": id, "cmd": command, "timeout": 60 });
        let answer = self.crictl(terminal, &shown, &api::EXEC, &asked)?;
        let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let output = said("stdout");
        terminal.print_output(&output);
        match answer["exit_code"].as_u64() {
            None | Some(0) => Ok(output),
            Some(status) => bail!(
                "{}: exit status {status}: {}",
                typed(command),
                said("stderr")
            ),
        }
    }

    fn logs(&self, member: &Member) -> Vec<String> {
        let file = format!("$PWD/logs/{}.log", member.name);
        ["tail", "--follow=name", "--retry", "--lines=+1", &file]
            .map(str::to_owned)
            .to_vec()
    }

    fn remove(&mut self, terminal: &mut Terminal) -> Result<()> {
        let sandbox = self.sandbox.clone();
        let id = json!({ "pod_sandbox_id": sandbox });
        self.crictl(terminal, &["stopp", short(&sandbox)], &api::STOP_POD, &id)?;
        self.crictl(terminal, &["rmp", short(&sandbox)], &api::REMOVE_POD, &id)?;
        terminal.run(&self.ctr(&["rm", "--sync", &self.image()]))?;
        Ok(())
    }

    fn left(&self, terminal: &mut Terminal) -> Result<String> {
        let label = format!("{LABEL}={}", self.asked.own);
        let filter =
            json!({ "filter": { "label_selector": { LABEL: self.asked.own.to_string() } } });
        let shown = ["pods", "--quiet", "--label", &label];
        let pods = self.crictl(terminal, &shown, &api::PODS, &filter)?;
        Ok(match &pods["items"] {
            Value::Null => String::new(),
            items => items.to_string(),
        })
    }
}

/// As crictl shows it, and takes it.
fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

fn text(answer: &Value, key: &str) -> Result<String> {
    let text = answer[key]
        .as_str()
        .with_context(|| format!("the answer has no {key}"))?;
    Ok(text.to_owned())
}

/// What containerd says that its pods are held by.
fn sandbox_image(status: &Value) -> Option<String> {
    let entries = match &status["info"] {
        Value::Array(entries) => entries.clone(),
        entry => vec![entry.clone()],
    };
    let config = entries.iter().find(|entry| entry["key"] == "config")?;
    let config: Value = serde_json::from_str(config["value"].as_str()?).ok()?;
    config["sandboxImage"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_image_is_found_in_the_status() {
        let config = json!({ "sandboxImage": "registry.k8s.io/pause:3.8" }).to_string();
        let entry = json!({ "key": "config", "value": config });
        let other = json!({ "key": "golang", "value": "go1" });
        let image = |info: Value| sandbox_image(&json!({ "info": info }));
        let expected = Some("registry.k8s.io/pause:3.8".to_owned());
        assert_eq!(image(json!([other, entry])), expected);
        assert_eq!(image(entry), expected);
        assert_eq!(image(other), None);
        assert_eq!(sandbox_image(&json!({})), None);
    }
}
