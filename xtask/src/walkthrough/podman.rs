//! Podman: a pod, whose infra container is the pause.

use super::parts::{self, Parts};
use super::terminal::Terminal;
use super::{Asked, Engine, Member, VOLUME};
use anyhow::Result;

pub(super) struct Podman {
    asked: Asked,
    /// The pause's image as podman knows it.
    pause: String,
}

impl Podman {
    pub(super) fn new(asked: Asked) -> Self {
        let pause = asked.image();
        Self { asked, pause }
    }

    fn name(&self, of: &str) -> String {
        self.asked.name(of)
    }

    fn members(&self) -> String {
        format!("localhost/{}", self.name("members"))
    }

    fn images(&self) -> Vec<String> {
        let mut images = vec![self.members()];
        if self.asked.pause.is_none() {
            images.push(self.pause.clone());
        }
        images
    }
}

impl Engine for Podman {
    fn sweep(&self) -> String {
        format!(
            "podman pod rm --force {}; podman volume rm --force {}; podman rmi --force {}",
            self.name("pod"),
            self.name("files"),
            self.images().join(" "),
        )
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
        terminal.run(&["podman", "import", "--quiet", parts::TREE, &self.members()])?;
        if parts.loads_pause {
            terminal.run(&["podman", "load", "--quiet", "--input", parts::PAUSE])?;
        }
        terminal.run(&["podman", "volume", "create", &self.name("files")])?;
        Ok(())
    }

    fn pause(&mut self, terminal: &mut Terminal) -> Result<()> {
        let name = self.name("pod");
        let port = format!("{}:80", self.asked.port);
        let create = [
            "podman",
            "pod",
            "create",
            "--name",
            &name,
            "--infra-image",
            &self.pause,
        ];
        let share = ["--share", "net,ipc,uts,pid", "--publish", &port];
        terminal.run(&[&create[..], &self.asked.below(), &share].concat())?;
        terminal.run(&["podman", "pod", "start", &name])?;
        Ok(())
    }

    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let (name, pod, image) = (self.name(member.name), self.name("pod"), self.members());
        let volume = format!("{}:{VOLUME}", self.name("files"));
        let (file, inside) = member.file;
        let file = format!("$PWD/{file}:{inside}:ro");
        let mut run = vec!["podman", "run", "--detach", "--name", &name, "--pod", &pod];
        run.extend(["--volume", &file, "--volume", &volume, &image]);
        run.extend(member.command);
        terminal.run(&run)?;
        Ok(())
    }

    fn restart(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        terminal.run(&["podman", "restart", &self.name(member.name)])?;
        Ok(())
    }

    fn exec(&self, terminal: &mut Terminal, member: &Member, command: &[&str]) -> Result<String> {
        let name = self.name(member.name);
        terminal.run(&[&["podman", "exec", &name][..], command].concat())
    }

    fn logs(&self, member: &Member) -> Vec<String> {
        ["podman", "logs", "--follow", &self.name(member.name)]
            .map(str::to_owned)
            .to_vec()
    }

    fn remove(&mut self, terminal: &mut Terminal) -> Result<()> {
        let pod = self.name("pod");
        terminal.run(&["podman", "pod", "stop", &pod])?;
        terminal.run(&["podman", "pod", "rm", &pod])?;
        terminal.run(&["podman", "volume", "rm", &self.name("files")])?;
        let mut images = vec!["podman".to_owned(), "rmi".to_owned()];
        images.extend(self.images());
        terminal.run(&images)?;
        Ok(())
    }

    fn left(&self, terminal: &mut Terminal) -> Result<String> {
        let filter = format!("name=^(blog|nginx|pod)-{}$", self.asked.own);
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
