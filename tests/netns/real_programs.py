"""Programs that people use, against the real servers: curl and wget's like, git, ssh, iperf3, a long session."""

import json
import pathlib
import subprocess
import time

import servers
import world
from world import IS_FULL, PUBLIC, SCRATCH, SERVER4, SERVER6, Guest, NetworkTest


class Programs(NetworkTest):
    @classmethod
    def setUpClass(cls):
        here = world.World.get()
        cls.addClassCleanup(here.close)
        cls.web = servers.nginx(here)
        cls.measure = servers.iperf3(here, [SERVER4, SERVER6])
        cls.ssh, cls.user, cls.key = servers.sshd(here)
        cls.addClassCleanup(servers.stop_all, cls.web, *cls.measure, cls.ssh)
        cls.make_repository()
        super().setUpClass()

    @staticmethod
    def make_repository():
        work, bare = SCRATCH / "work", SCRATCH / "www/project.git"
        subprocess.run(
            f"git init -q -b main {work} && cd {work} && git config user.email test@cordon.example && "
            "git config user.name test && head -c 3000000 /dev/urandom > data && echo text > file && "
            f"git add . && git commit -q -m first && git clone -q --bare {work} {bare} && "
            f"git -C {bare} update-server-info && chmod -R a+rwX {bare}",
            shell=True, check=True, timeout=60)

    def guest_runs(self, *words, timeout=60):
        got = self.guest.call("run", within=timeout + 5, timeout=timeout, command=list(words))
        self.assertEqual(got["status"], 0, got)
        return got["out"]

    def ssh_words(self, address):
        return ["ssh", "-i", str(SCRATCH / "home/key"), "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o",
                "LogLevel=ERROR", f"{self.user}@{address}"]

    def lend_key(self):
        # ssh wants a key that belongs to whoever runs it.
        text = pathlib.Path(self.key).read_text()
        self.guest.attempt(source=f"open('{SCRATCH}/home/key', 'w', opener=lambda p, f: os.open(p, f, 0o600))"
                                  f".write({text!r})")

    def test_git_clone_over_http(self):
        for host in (SERVER4, f"[{SERVER6}]"):
            with self.subTest(host):
                target = f"{SCRATCH}/tmp/clone{len(host)}"
                self.guest_runs("git", "clone", "-q", f"http://{host}/project.git", target)
                self.guest_runs("git", "-c", "safe.directory=*", "-C", target, "fsck")

    def test_ssh_runs_a_command_and_keeps_a_long_session(self):
        self.lend_key()
        for address in (SERVER4, SERVER6):
            with self.subTest(address):
                out = self.guest_runs(*self.ssh_words(address), "for n in 1 2 3 4 5; do echo $n; sleep 0.3; done")
                self.assertEqual(out.split(), ["1", "2", "3", "4", "5"])

    def test_git_clone_over_ssh(self):
        self.lend_key()
        words = " ".join(self.ssh_words(SERVER4)[:-1])
        for host in (SERVER4, f"[{SERVER6}]"):
            with self.subTest(host):
                target = f"{SCRATCH}/tmp/clone-ssh{len(host)}"
                self.guest_runs("env", f"GIT_SSH_COMMAND={words}", "git", "-c", "safe.directory=*", "clone", "-q",
                                "-u", "git -c safe.directory=* upload-pack",
                                f"ssh://{self.user}@{host}{SCRATCH}/www/project.git", target)
                self.guest_runs("git", "-c", "safe.directory=*", "-C", target, "fsck")

    def iperf3(self, address, *words):
        """The end of the report. A server that still tidies up after the test before is busy, or does not listen."""
        for _ in range(20):
            out = self.guest_runs("iperf3", "--client", address, "--json", *words)
            report = json.loads(out)
            if not any(word in report.get("error", "") for word in ("busy", "refused")):
                break
            time.sleep(0.2)
        self.assertNotIn("error", report, out)
        return report["end"]

    def test_iperf3_tcp_both_ways(self):
        for address in (SERVER4, SERVER6):
            for direction in ([], ["--reverse"], ["--bidir"], ["--parallel", "4"]):
                with self.subTest(f"{address} {direction}"):
                    end = self.iperf3(address, "--time", "5" if IS_FULL else "1", *direction)
                    self.assertGreater(end["sum_received"]["bits_per_second"], 1e8)

    def test_iperf3_udp_both_ways(self):
        for address in (SERVER4, SERVER6):
            for direction in ([], ["--reverse"]):
                with self.subTest(f"{address} {direction}"):
                    # So slow that no buffer is full before a machine with other things to do comes round.
                    end = self.iperf3(address, "--time", "1", "--udp", "--length", "1200", "--bitrate", "5M",
                                      *direction)["sum"]
                    self.assertGreater(end["packets"], 300)
                    self.assertLess(end["lost_percent"], 5)

    def test_session_that_is_silent_between_messages(self):
        """A WebSocket's manner: upgrade, then rare messages of either side in no order."""
        def serve(client):
            request = client.recv(65536)
            assert b"Upgrade: websocket" in request
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            for number in range(5):
                time.sleep(0.4)
                client.sendall(b"\x81\x05from%d" % number)
            servers.echo(client)
        for address in (SERVER4, SERVER6):
            with self.subTest(address):
                server = servers.TcpServer(self.world.ext, address, 9401, serve)
                self.addCleanup(server.close)
                number = self.guest.connect(address=address, port=9401)["socket"]
                self.guest.send(number=number,
                                text="GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
                answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
                self.assertEqual(self.guest.receive_exactly(number=number, size=len(answer))["text"], answer)
                for turn in range(5):
                    got = self.guest.receive_exactly(number=number, size=7)
                    self.assertEqual(got["text"], f"\x81\x05from{turn}")
                    self.guest.send(number=number, text=f"to{turn}")
                got = self.guest.receive_exactly(number=number, size=15)
                self.assertEqual(got["text"], "to0to1to2to3to4")
                self.guest.hang_up(number=number)

    def test_curl_says_the_same_as_outside(self):
        direct = Guest(self.world, direct=True)
        self.addCleanup(direct.close)
        self.world.ext.run("ip route replace unreachable 198.51.100.64/28")
        for url, status in ((f"http://{SERVER4}:81/", 7), ("http://198.51.100.65/", 7),
                            (f"http://{world.SILENT4}/", 28), (f"http://[{SERVER6}]:81/", 7)):
            with self.subTest(url):
                words = ["curl", "-sS", "--max-time", "2", url]
                inside, there = self.guest.run(command=words), direct.run(command=words)
                self.assertEqual((inside["status"], there["status"]), (status, status), inside)

    def test_nginx_in_the_guest_with_a_published_port(self):
        folder = SCRATCH / "tmp/guest-nginx"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        (folder / "conf").write_text(
            f"user root; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error; events {{}}\n"
            f"http {{ access_log {folder}/access; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
            f" server {{ listen 80; listen [::]:80; root {SCRATCH}/www; }} }}")
        (SCRATCH / "www/page").write_text("from the guest")
        with Guest(self.world, [*PUBLIC, "--publish", f"{world.HOST4}:8080:80", "--publish",
                                f"[{world.HOST6}]:8080:80"]) as guest:
            guest.attempt(source=f"subprocess.Popen(['nginx', '-e', '{folder}/error', '-c', '{folder}/conf'])")
            for host, client in ((world.HOST4, world.ROUTER4), (f"[{world.HOST6}]", world.ROUTER6)):
                with self.world.ext:
                    done = subprocess.run(["curl", "-sS", "--retry", "20", "--retry-all-errors", "--retry-delay",
                                           "1", "--max-time", "20", f"http://{host}:8080/page"],
                                          capture_output=True, text=True, timeout=30, check=False)
                self.assertEqual(done.stdout, "from the guest", done.stderr)
                self.assertIn(client, (folder / "access").read_text())


if __name__ == "__main__":
    world.main()
