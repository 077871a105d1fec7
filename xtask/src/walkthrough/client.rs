//! What docker and podman are told in the same words.

use super::terminal::Terminal;
use super::{Asked, Member, VOLUME};
use anyhow::Result;

/// The command of an engine, and what it makes of the request.
pub(super) struct Client {
    pub(super) program: &'static str,
    pub(super) asked: Asked,
    /// The image of the members.
    pub(super) members: String,
    /// The image of the pause.
    pub(super) pause: String,
}

impl Client {
    pub(super) fn new(program: &'static str, asked: Asked, members: String) -> Self {
        let pause = asked.image();
        Self {
            program,
            asked,
            members,
            pause,
        }
    }

    pub(super) fn name(&self, of: &str) -> String {
        self.asked.name(of)
    }

    /// The images that are loaded, and removed at the end.
    pub(super) fn images(&self) -> Vec<String> {
        let mut images = vec![self.members.clone()];
        if self.asked.pause.is_none() {
            images.push(self.pause.clone());
        }
        images
    }

    /// A shell script that removes the volume and the images.
    pub(super) fn sweep(&self) -> String {
        let (program, volume, images) = (self.program, self.name("files"), self.images().join(" "));
        format!("{program} volume rm --force {volume}; {program} rmi --force {images}")
    }

    /// Starts a member, which shares what these options say.
    pub(super) fn start(
        &self,
        terminal: &mut Terminal,
        member: &Member,
        share: &[&str],
    ) -> Result<()> {
        let name = self.name(member.name);
        let volume = format!("{}:{VOLUME}", self.name("files"));
        let (file, inside) = member.file;
        let file = format!("$PWD/{file}:{inside}:ro");
        let mut run = vec![self.program, "run", "--detach", "--name", &name];
        run.extend(share);
        run.extend(["--volume", &file, "--volume", &volume, &self.members]);
        run.extend(member.command);
        terminal.run(&run)?;
        Ok(())
    }

    pub(super) fn restart(&self, terminal: &mut Terminal, member: &Member) -> Result<()> {
        terminal.run(&[self.program, "restart", &self.name(member.name)])?;
        Ok(())
    }

    pub(super) fn exec(
        &self,
        terminal: &mut Terminal,
        member: &Member,
        command: &[&str],
    ) -> Result<String> {
        let name = self.name(member.name);
        terminal.run(&[&[self.program, "exec", &name][..], command].concat())
    }

    pub(super) fn logs(&self, member: &Member) -> Vec<String> {
        [self.program, "logs", "--follow", &self.name(member.name)]
            .map(str::to_owned)
            .to_vec()
    }

    /// Removes the volume and the images.
    pub(super) fn remove(&self, terminal: &mut Terminal) -> Result<()> {
        terminal.run(&[self.program, "volume", "rm", &self.name("files")])?;
        let mut images = vec![self.program.to_owned(), "rmi".to_owned()];
        images.extend(self.images());
        terminal.run(&images)?;
        Ok(())
    }
}
