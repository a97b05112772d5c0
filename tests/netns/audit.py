"""`cordon audit`: nothing gets out of cordon, and what is known to get out of others is found."""

import json
import os
import subprocess
import unittest

import world
from servers import DnsServer, TcpServer, echo
from world import AS_USER, HOST4, ORDINARY_USER, PUBLIC, ROUTER4, SCRATCH, SECOND4, SERVER4, World, wait_until

ADDED = "198.51.100.77"
# Not an ordinary user's, who made a user namespace to be it.
IS_HOSTS_ROOT = not AS_USER and os.environ.get("CORDON_WORLD") == "root"
# A network namespace, and slirp4netns joined to it; the command is put behind.
SLIRP = """
folder=$(mktemp -d); mkfifo $folder/pid $folder/ready
unshare -rn sh -c 'echo $$ >'$folder'/pid; read line <'$folder'/ready; exec "$@"' sh "$@" &
read pid <$folder/pid
slirp4netns --configure --ready-fd=3 $pid tap0 3>$folder/ready >/dev/null 2>&1 &
wait %1; status=$?
kill %2; rm -r $folder; exit $status
"""


class AuditTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World.get()
        cls.world.make_runtime_folder()
        cls.server = TcpServer(cls.world.ext, SERVER4, 80, echo)
        cls.dns = DnsServer(cls.world.ext, SECOND4, {"ok.example": [SERVER4]})
        cls.world.set_resolv_conf(f"nameserver {SECOND4}\n")
        # Addresses that nobody has are silent, as they are on the internet.
        cls.world.ext.run("ip route replace blackhole default", "ip -6 route replace blackhole default")
        # A tentative link-local address cannot be bound yet.
        wait_until(lambda: not cls.is_tentative(), "duplicate address detection")

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        cls.dns.close()

    @classmethod
    def is_tentative(cls):
        with cls.world.host:
            return "tentative" in subprocess.run(["ip", "-6", "address"], capture_output=True, text=True,
                                                 check=True, timeout=5).stdout

    def audit(self, *sandbox, options=()):
        """Runs it as the module's user, in host."""
        with self.world.host:
            return subprocess.run(
                [*self.world.credentials(), self.world.program, "audit", *options, "--", *sandbox],
                env={**self.world.environment(), "TMPDIR": str(SCRATCH / "tmp")}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=SCRATCH / "tmp", timeout=60)

    def rows(self, *sandbox, options=(), status):
        """The report, and its rows by their keys."""
        done = self.audit(*sandbox, options=("--json", *options))
        self.assertEqual(done.returncode, status, done.stderr + self.told(done.stdout))
        report = json.loads(done.stdout)
        self.assertTrue(report["complete"])
        self.assertLess(report["seconds"], 30)
        self.save(report, done.stdout)
        return report, {row["leak"]: row for row in report["rows"]}

    @staticmethod
    def told(text):
        try:
            rows = json.loads(text)["rows"]
        except ValueError:
            return text
        return "".join(f"{row['leak']}: {row['evidence']}\n" for row in rows if row["state"] == "leaks")

    @staticmethod
    def save(report, text):
        """CORDON_AUDIT_SAVE=FOLDER keeps the results, for `cordon audit --compare`."""
        if folder := os.environ.get("CORDON_AUDIT_SAVE"):
            name = report["name"].replace(" ", "_").replace("/", "_")
            with open(f"{folder}/{'user' if AS_USER else 'root'}-{name}.json", "w") as file:
                file.write(text)

    def assert_states(self, rows, state, keys):
        found = {key: rows[key]["state"] for key in keys}
        self.assertEqual(found, dict.fromkeys(keys, state), [rows[key] for key in keys])

    def leaks(self, rows):
        return {key for key, row in rows.items() if row["state"] == "leaks"}


THE_HOST = ["loopback-v4", "loopback-v6", "host-address-v4", "host-address-v6", "host-link-local", "gateway",
            "unspecified", "wrapped", "published-port"]
NEAR_THE_HOST = ["metadata", "link-local", "lan", "mdns", "llmnr", "ssdp", "ws-discovery", "broadcast"]
# What only a process with CAP_NET_RAW can see outside.
NAMES = [] if AS_USER else ["dns-names", "dns-reverse", "nbns"]
INSIDE = ["echo", "other-transports", "raw-packets", "raw-sockets", "packet-sockets", "vsock", "abstract-unix",
          "inherited-stream", "inherited-directory", "inherited-other", "processes", "process-secrets",
          "signals", "ptrace", "stolen-descriptor", "enter-network", "terminal", "network-power",
          "firewall-power", "kernel-settings", "new-namespaces", "host-network", "control-socket"]


class Cordon(AuditTest):
    def assert_nothing_gets_out(self, rows):
        self.assertEqual(self.leaks(rows), set(), self.told(json.dumps({"rows": list(rows.values())})))
        self.assert_states(rows, "clean", [*THE_HOST, *NEAR_THE_HOST, *INSIDE])

    def test_lets_nothing_out_that_its_policy_does_not_allow(self):
        report, rows = self.rows(
            self.world.program, "run", *PUBLIC, "--allow", f"{SERVER4}:80", "--",
            options=("--name", "cordon run --allow", "--allowed", f"{SERVER4}:80"), status=0)
        self.assertTrue(report["reached_allowed"])
        self.assert_nothing_gets_out(rows)
        self.assert_states(rows, "clean", ["dns-servers", "dns-encrypted", *NAMES])

    def test_without_a_policy_lets_out_what_is_public_only(self):
        report, rows = self.rows(
            self.world.program, "run", *PUBLIC, "--",
            options=("--name", "cordon run", "--public", "--allowed", f"{SERVER4}:80"), status=0)
        self.assertTrue(report["reached_allowed"])
        self.assert_nothing_gets_out(rows)
        if not AS_USER:
            self.assert_states(rows, "by-design", ["dns-names", "dns-encrypted"])

    def test_with_a_policy_file_of_names_lets_no_other_name_out(self):
        policy = SCRATCH / "tmp/names.toml"
        policy.write_text(f"""
            version = 1
            default = "deny"
            allow = ["ok.example", "*.wild.example", "{SERVER4}:80"]
            [classes]
            public = ["198.51.100.0/24", "2001:db8::/32"]
            """)
        asked = len(self.dns.queries)
        report, rows = self.rows(
            self.world.program, "run", "--policy", str(policy), "--",
            options=("--name", "cordon run --policy", "--allowed", f"{SERVER4}:80"), status=0)
        self.assertTrue(report["reached_allowed"])
        self.assert_nothing_gets_out(rows)
        self.assert_states(rows, "clean", ["dns-servers", "dns-encrypted"])
        self.assertEqual(self.dns.queries[asked:], [], "the host's server was asked")

    def test_is_caught_at_what_its_policy_allows(self):
        # A name may lead to what a rule for a class allows: with such a rule names are asked for.
        names = {"dns-names", "dns-reverse"}
        _, rows = self.rows(self.world.program, "run", "--allow", "@lan", "--", status=1)
        self.assertEqual(self.leaks(rows) - names, {"lan"}, rows["lan"])
        _, rows = self.rows(self.world.program, "run", *PUBLIC, "--allow", "@public", "--", status=1)
        self.assertEqual(self.leaks(rows) - names, {"dns-encrypted"}, rows["dns-encrypted"])

    def test_offline_lets_nothing_out(self):
        _, rows = self.rows(self.world.program, "run", "--offline", "--",
                            options=("--name", "cordon run --offline"), status=0)
        self.assert_nothing_gets_out(rows)

    def test_as_root_inside_has_no_power(self):
        _, rows = self.rows(self.world.program, "run", "--map-root", *PUBLIC, "--allow", f"{SERVER4}:80", "--",
                            options=("--allowed", f"{SERVER4}:80"), status=0)
        self.assert_nothing_gets_out(rows)

    def test_knows_an_address_that_was_added_a_moment_ago(self):
        _, rows = self.rows(self.world.program, "run", *PUBLIC, "--", status=0,
                            options=("--public", "--add-address", ADDED))
        if AS_USER:
            self.assert_states(rows, "not-tested", ["added-address"])
            self.assertIn(ADDED, rows["added-address"]["evidence"][0])
        else:
            self.assert_states(rows, "clean", ["added-address"])
        with self.world.host:
            addresses = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True,
                                       timeout=5).stdout
        self.assertNotIn(ADDED, addresses)


class Others(AuditTest):
    """The twins of every clean row: the audit finds what is there to be found."""

    def test_a_shared_network_is_found_with_everything_in_it(self):
        _, rows = self.rows("bwrap", "--dev-bind", "/", "/", "--unshare-all", "--share-net",
                            options=("--name", "bwrap --share-net"), status=1)
        where = [key for key in THE_HOST if key != "gateway"]
        self.assert_states(rows, "leaks", [
            *where, *NEAR_THE_HOST, *NAMES, "host-network", "dns-servers", "dns-encrypted", "echo",
            "other-transports", "abstract-unix", "inherited-stream", "inherited-directory", "processes",
            "terminal"])

    def test_pasta_leads_to_the_hosts_loopback_and_its_neighbours(self):
        # Root's pasta would become another user, who may not read the maps of root's process.
        user = [] if not IS_HOSTS_ROOT else ["setpriv", "--reuid", str(ORDINARY_USER), "--regid", str(ORDINARY_USER),
                                   "--clear-groups", "--"]
        _, rows = self.rows(*user, "pasta", "--config-net", "--", options=("--name", "pasta"), status=1)
        self.assert_states(rows, "clean", ["host-network", "abstract-unix", "packet-sockets"])
        self.assert_states(rows, "leaks", ["loopback-v4", "gateway", "metadata", "lan", "mdns",
                                           "dns-servers", "inherited-stream", "processes", "terminal"])
        self.assertIn(f"{ROUTER4}:", "".join(rows["gateway"]["evidence"]))

    def test_slirp4netns_leads_to_the_hosts_addresses_and_loopback(self):
        _, rows = self.rows("sh", "-c", SLIRP, "sh", options=("--name", "slirp4netns"), status=1)
        self.assert_states(rows, "clean", ["host-network", "loopback-v4", "abstract-unix", "packet-sockets"])
        self.assert_states(rows, "leaks", ["host-address-v4", "gateway", "published-port", "metadata", "lan",
                                           "dns-servers", "signals", "raw-sockets", "network-power"])
        self.assertIn("10.0.2.2:", "".join(rows["gateway"]["evidence"]))
        self.assertIn(HOST4, "".join(rows["host-address-v4"]["evidence"]))

    def test_an_empty_network_leaks_by_other_ways(self):
        report, rows = self.rows("unshare", "-rn", options=("--name", "unshare -rn"), status=1)
        self.assert_states(rows, "clean", [*THE_HOST, *NEAR_THE_HOST, "abstract-unix", "echo"])
        self.assert_states(rows, "leaks", ["inherited-stream", "inherited-directory", "processes", "signals",
                                           "terminal", "raw-sockets", "network-power", "firewall-power"])
        self.assertIn("own 127.0.0.1", "".join(report["remarks"]))

    def test_no_sandbox_at_all_is_found_in_every_row_that_can_be(self):
        _, rows = self.rows("env", options=("--name", "none"), status=1)
        found = self.leaks(rows)
        for key in ("host-network", "process-secrets", "signals", "ptrace", "stolen-descriptor", "terminal", "control-socket"):
            self.assertIn(key, found, rows[key])
        if not AS_USER:
            for key in ("raw-packets", "packet-sockets", "enter-network", "network-power"):
                self.assertIn(key, found, rows[key])
        self.assertEqual("kernel-settings" in found, IS_HOSTS_ROOT, rows["kernel-settings"])

    def test_an_address_that_was_added_a_moment_ago_is_reached(self):
        _, rows = self.rows("env", options=("--add-address", ADDED), status=1)
        self.assert_states(rows, "not-tested" if AS_USER else "leaks", ["added-address"])


class Result(AuditTest):
    def test_is_a_table_for_people(self):
        done = self.audit(self.world.program, "run", "--offline", "--")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the host's 127.0.0.1", done.stdout)
        self.assertIn("No audit can tell:", done.stdout)
        self.assertIn("0 leaks", done.stdout)

    def test_of_an_allowed_destination_that_is_not_reached_proves_nothing(self):
        report, _ = self.rows(self.world.program, "run", "--offline", "--",
                              options=("--allowed", f"{SERVER4}:80"), status=125)
        self.assertFalse(report["reached_allowed"])

    def test_of_a_sandbox_that_does_not_start_is_an_error(self):
        for sandbox in (["/no/such/sandbox"], ["false"], ["echo", "not run:"],
                        [self.world.program, "run", "--no-such-option", "--"]):
            with self.subTest(sandbox):
                done = self.audit(*sandbox)
                self.assertEqual(done.returncode, 125, done)
                self.assertTrue(done.stderr.startswith("cordon: audit: "), done.stderr)
                self.assertEqual(done.stdout, "")

    def test_of_a_sandbox_that_prints_too_is_the_same(self):
        _, rows = self.rows("sh", "-c", 'echo noise; printf "no newline"; exec "$@"', "sh",
                            self.world.program, "run", "--offline", "--", status=0)
        self.assert_states(rows, "clean", THE_HOST)

    def test_of_several_sandboxes_stands_in_one_table(self):
        files = []
        for name, sandbox in (("offline", [self.world.program, "run", "--offline", "--"]), ("none", ["env"])):
            files.append(SCRATCH / f"tmp/{name}.json")
            files[-1].write_text(self.audit(*sandbox, options=("--json", "--name", name)).stdout)
        done = subprocess.run([self.world.program, "audit", "--compare", *files], capture_output=True, text=True,
                              timeout=10)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "| what gets out | severity | offline | none |")
        self.assertIn("| the host's 127.0.0.1 | high | – | **leaks** |", lines)

    def test_leaves_nothing_behind(self):
        self.audit(self.world.program, "run", "--offline", "--")
        self.assertEqual(self.world.processes("audit-"), [])
        self.assertEqual(list((SCRATCH / "tmp").glob("cordon-audit-*")), [])


if __name__ == "__main__":
    world.main()
