//! Docker: members share the namespaces of the pause's container.

use super::parts::{self, Parts};
use super::terminal::Terminal;
use super::{Asked, Engine, Member, VOLUME};
use anyhow::Result;

const HINT: &str = "start docker, or have DOCKER_HOST name its socket";

pub(super) struct Docker {
    asked: Asked,
    /// The pause's image as docker knows it.
    pause: String,
}

impl Docker {
    pub(super) fn new(asked: Asked) -> Self {
        let pause = asked.image();
        Self { asked, pause }
    }

    fn name(&self, of: &str) -> String {
        self.asked.name(of)
    }

    fn images(&self) -> Vec<String> {
        let mut images = vec![self.name("members")];
        if self.asked.pause.is_none() {
            images.push(self.pause.clone());
        }
        images
    }

    fn containers(&self) -> [String; 3] {
        ["blog", "nginx", "pause"].map(|it| self.name(it))
    }
}

impl Engine for Docker {
    fn sweep(&self) -> String {
        format!(
            "docker rm --force {}; docker volume rm --force {}; docker rmi --force {}",
            self.containers().join(" "),
            self.name("files"),
            self.images().join(" "),
        )
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
        terminal.run(&["docker", "import", parts::TREE, &self.name("members")])?;
        if parts.loads_pause {
            terminal.run(&["docker", "load", "--input", parts::PAUSE])?;
        }
        terminal.run(&["docker", "volume", "create", &self.name("files")])?;
        Ok(())
    }

    fn pause(&mut self, terminal: &mut Terminal) -> Result<()> {
        let name = self.name("pause");
        let port = format!("{}:80", self.asked.port);
        let run = [
            "docker",
            "run",
            "--detach",
            "--name",
            &name,
            "--publish",
            &port,
        ];
        let image = ["--ipc=shareable", &self.pause];
        terminal.run(&[&run[..], &self.asked.below(), &image].concat())?;
        Ok(())
    }

    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        let (name, image) = (self.name(member.name), self.name("members"));
        let share =
            ["net", "ipc", "pid"].map(|it| format!("--{it}=container:{}", self.name("pause")));
        let volume = format!("{}:{VOLUME}", self.name("files"));
        let (file, inside) = member.file;
        let file = format!("$PWD/{file}:{inside}:ro");
        let mut run = vec!["docker", "run", "--detach", "--name", &name];
        run.extend(share.iter().map(String::as_str));
        run.extend(self.asked.below());
        run.extend(["--volume", &file, "--volume", &volume, &image]);
        run.extend(member.command);
        terminal.run(&run)?;
        Ok(())
    }

    fn restart(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        terminal.run(&["docker", "restart", &self.name(member.name)])?;
        Ok(())
    }

    fn exec(&self, terminal: &mut Terminal, member: &Member, command: &[&str]) -> Result<String> {
        let name = self.name(member.name);
        terminal.run(&[&["docker", "exec", &name][..], command].concat())
    }

    fn logs(&self, member: &Member) -> Vec<String> {
        ["docker", "logs", "--follow", &self.name(member.name)]
            .map(str::to_owned)
            .to_vec()
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
        terminal.run(&["docker", "volume", "rm", &self.name("files")])?;
        let mut images = vec!["docker".to_owned(), "rmi".to_owned()];
        images.extend(self.images());
        terminal.run(&images)?;
        Ok(())
    }

    fn left(&self, terminal: &mut Terminal) -> Result<String> {
        let filter = format!("name=^(blog|nginx|pause)-{}$", self.asked.own);
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
        let filter = format!("reference={}", self.name("members"));
        let images = ["docker", "images", "--quiet", "--filter", &filter];
        left.push_str(&terminal.run(&images)?);
        Ok(left)
    }
}
