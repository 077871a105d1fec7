//! Podman: a pod, whose infra container is the pause.

use super::client::Client;
use super::parts::{self, Parts};
use super::terminal::Terminal;
use super::{Asked, Engine, Member};
use anyhow::Result;

pub(super) struct Podman(Client);

impl Podman {
    pub(super) fn new(asked: Asked) -> Self {
        let members = format!("localhost/{}", asked.name("members"));
        Self(Client::new("podman", asked, members))
    }
}

impl Engine for Podman {
    fn sweep(&self) -> String {
        let pod = self.0.name("pod");
        format!("podman pod rm --force {pod}; {}", self.0.sweep())
    }

    fn greet(&self, terminal: &mut Terminal) -> Result<()> {
        let ask = [
            "podman",
            "version",
            "--format",
            "podman {{.Client.Version}}",
        ];
        let version = terminal.ask(&ask, "apt-get install podman")?;
        terminal.print(&version);
        Ok(())
    }

    fn load(&mut self, terminal: &mut Terminal, parts: &Parts) -> Result<()> {
        terminal.run(&["podman", "import", "--quiet", parts::TREE, &self.0.members])?;
        if parts.loads_pause {
            terminal.run(&["podman", "load", "--quiet", "--input", parts::PAUSE])?;
        }
        terminal.run(&["podman", "volume", "create", &self.0.name("files")])?;
        Ok(())
    }

    fn pause(&mut self, terminal: &mut Terminal) -> Result<()> {
        let name = self.0.name("pod");
        let port = format!("{}:80", self.0.asked.port);
        let create = [
            "podman",
            "pod",
            "create",
            "--name",
            &name,
            "--infra-image",
            &self.0.pause,
        ];
        let share = ["--share", "net,ipc,uts,pid", "--publish", &port];
        terminal.run(&[&create[..], &self.0.asked.below(), &share].concat())?;
        terminal.run(&["podman", "pod", "start", &name])?;
        Ok(())
    }

    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let pod = self.0.name("pod");
        self.0.start(terminal, member, &["--pod", &pod])
    }

    fn restart(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        self.0.restart(terminal, member)
    }

    fn exec(&self, terminal: &mut Terminal, member: &Member, command: &[&str]) -> Result<String> {
        self.0.exec(terminal, member, command)
    }

    fn logs(&self, member: &Member) -> Vec<String> {
        self.0.logs(member)
    }

    fn remove(&mut self, terminal: &mut Terminal) -> Result<()> {
        let pod = self.0.name("pod");
        terminal.run(&["podman", "pod", "stop", &pod])?;
        terminal.run(&["podman", "pod", "rm", &pod])?;
        self.0.remove(terminal)
    }

    fn left(&self, terminal: &mut Terminal) -> Result<String> {
        let filter = format!("name=^(blog|nginx|pod)-{}$", self.0.asked.own);
        let names = [
            "podman",
            "ps",
            "--all",
            "--filter",
            &filter,
            "--format",
            "{{.Names}}",
        ];
        let mut left = terminal.run(&names)?;
        let pods = [
            "podman",
            "pod",
            "ps",
            "--filter",
            &filter,
            "--format",
            "{{.Name}}",
        ];
        left.push_str(&terminal.run(&pods)?);
        Ok(left)
    }
}
