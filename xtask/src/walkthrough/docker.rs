//! Docker: members share the namespaces of the pause's container.

use super::client::Client;
use super::parts::{self, Parts};
use super::terminal::Terminal;
use super::{Asked, Engine, Member};
use anyhow::Result;

const HINT: &str = "start docker, or have DOCKER_HOST name its socket";

pub(super) struct Docker(Client);

impl Docker {
    pub(super) fn new(asked: Asked) -> Self {
        let members = asked.name("members");
        Self(Client::new("docker", asked, members))
    }

    fn containers(&self) -> [String; 3] {
        ["blog", "nginx", "pause"].map(|it| self.0.name(it))
    }
}

impl Engine for Docker {
    fn sweep(&self) -> String {
        let containers = self.containers().join(" ");
        format!("docker rm --force {containers}; {}", self.0.sweep())
    }

    fn greet(&self, terminal: &mut Terminal) -> Result<()> {
        let ask = [
            "docker",
            "version",
            "--format",
            "docker {{.Server.Version}}",
        ];
        let version = terminal.ask(&ask, HINT)?;
        terminal.print(&version);
        Ok(())
    }

    fn load(&mut self, terminal: &mut Terminal, parts: &Parts) -> Result<()> {
        terminal.run(&["docker", "import", parts::TREE, &self.0.members])?;
        if parts.loads_pause {
            terminal.run(&["docker", "load", "--input", parts::PAUSE])?;
        }
        terminal.run(&["docker", "volume", "create", &self.0.name("files")])?;
        Ok(())
    }

    fn pause(&mut self, terminal: &mut Terminal) -> Result<()> {
        let name = self.0.name("pause");
        let port = format!("{}:80", self.0.asked.port);
        let run = [
            "docker",
            "run",
            "--detach",
            "--name",
            &name,
            "--publish",
            &port,
        ];
        let image = ["--ipc=shareable", &self.0.pause];
        terminal.run(&[&run[..], &self.0.asked.below(), &image].concat())?;
        Ok(())
    }

    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let pause = self.0.name("pause");
        let share = ["net", "ipc", "pid"].map(|it| format!("--{it}=container:{pause}"));
        let share = share.iter().map(String::as_str);
        let options: Vec<_> = share.chain(self.0.asked.below()).collect();
        self.0.start(terminal, member, &options)
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
        let containers = self.containers();
        let [blog, nginx, pause] = &containers;
        terminal.run(&["docker", "stop", blog, nginx, pause])?;
        let remove = [
            "docker",
            "inspect",
            "--format",
            "{{.Name}} exited {{.State.ExitCode}}",
        ];
        terminal.run(&[&remove[..], &[pause]].concat())?;
        terminal.run(&["docker", "rm", blog, nginx, pause])?;
        self.0.remove(terminal)
    }

    fn left(&self, terminal: &mut Terminal) -> Result<String> {
        let filter = format!("name=^(blog|nginx|pause)-{}$", self.0.asked.own);
        let names = [
            "docker",
            "ps",
            "--all",
            "--filter",
            &filter,
            "--format",
            "{{.Names}}",
        ];
        let mut left = terminal.run(&names)?;
        let filter = format!("reference={}", self.0.members);
        let images = ["docker", "images", "--quiet", "--filter", &filter];
        left.push_str(&terminal.run(&images)?);
        Ok(left)
    }
}
