// Rules for names, ask rules and modes, by tables: "policy | request | verdict" as policy_text.h
// reads them.
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/policy/policy_text.h"
#include "tests/unit/policy/random_policy.h"

namespace cordon {
namespace {

using policy_text::describe;
using policy_text::make_name;
using policy_text::make_policy;
using policy_text::make_request;
using policy_text::TextRequest;

struct Row {
  const char* policy;
  const char* request;
  const char* verdict;
};

constexpr Row kNameRows[] = {
    // A name without a port: the web.
    {"deny +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org", "tcp 9.9.9.9 80 public pypi.org", "allow rule 0"},
    {"deny +pypi.org", "tcp 9.9.9.9 22 public pypi.org", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 8443 public pypi.org", "deny default"},
    {"deny +pypi.org", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +pypi.org", "udp 9.9.9.9 80 public pypi.org", "deny default"},
    {"deny +pypi.org", "icmp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +pypi.org", "tcp 2a00::9 443 public pypi.org", "allow rule 0"},
    {"deny +tcp/pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +tcp/pypi.org", "tcp 9.9.9.9 22 public pypi.org", "deny default"},
    // Another name, or none.
    {"deny +pypi.org", "tcp 9.9.9.9 443 public pypi.com", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public evilpypi.org", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public pypi.org.evil.example", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public files.pypi.org", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public org", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public .", "deny default"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public", "deny default"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public", "deny default"},
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public", "deny default"},
    {"deny +9.9.9.9", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    // Letter case does not count.
    {"deny +pypi.org", "tcp 9.9.9.9 443 public PyPI.oRG", "allow rule 0"},
    {"deny +PYPI.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +*.PYPI.org", "tcp 9.9.9.9 443 public A.pypi.ORG", "allow rule 0"},
    // Subdomains alone.
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public files.pypi.org", "allow rule 0"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public a.b.c.pypi.org", "allow rule 0"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public evilpypi.org", "deny default"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 443 public a.evilpypi.org", "deny default"},
    {"deny +*.pypi.org", "tcp 9.9.9.9 22 public files.pypi.org", "deny default"},
    {"deny +*.pypi.org:22", "tcp 9.9.9.9 22 public files.pypi.org", "allow rule 0"},
    // The apex too.
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public files.pypi.org", "allow rule 0"},
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public a.b.pypi.org", "allow rule 0"},
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public evilpypi.org", "deny default"},
    {"deny +.pypi.org", "tcp 9.9.9.9 443 public org", "deny default"},
    // Ports and protocols.
    {"deny +github.com:22", "tcp 9.9.9.9 22 public github.com", "allow rule 0"},
    {"deny +github.com:22", "tcp 9.9.9.9 443 public github.com", "deny default"},
    {"deny +github.com:22", "udp 9.9.9.9 22 public github.com", "deny default"},
    {"deny +db.corp:5000-5010", "tcp 9.9.9.9 5000 public db.corp", "allow rule 0"},
    {"deny +db.corp:5000-5010", "tcp 9.9.9.9 5010 public db.corp", "allow rule 0"},
    {"deny +db.corp:5000-5010", "tcp 9.9.9.9 4999 public db.corp", "deny default"},
    {"deny +db.corp:5000-5010", "tcp 9.9.9.9 5011 public db.corp", "deny default"},
    {"deny +udp/ntp.example:123", "udp 9.9.9.9 123 public ntp.example", "allow rule 0"},
    {"deny +udp/ntp.example:123", "tcp 9.9.9.9 123 public ntp.example", "deny default"},
    {"deny +icmp/gw.example", "icmp 9.9.9.9 77 public gw.example", "allow rule 0"},
    {"deny +icmp/gw.example", "tcp 9.9.9.9 80 public gw.example", "deny default"},
    {"deny +icmp/gw.example", "udp 9.9.9.9 80 public gw.example", "deny default"},
    // QUIC.
    {"deny +pypi.org quic", "udp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org quic", "udp 9.9.9.9 80 public pypi.org", "deny default"},
    {"deny +*.pypi.org quic", "udp 9.9.9.9 443 public a.pypi.org", "allow rule 0"},
    {"deny +pypi.org:443 quic", "udp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org:400-500 quic", "udp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org:400-500 quic", "udp 9.9.9.9 444 public pypi.org", "deny default"},
    {"deny +pypi.org:80 quic", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +icmp/pypi.org quic", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +9.9.9.9:443 quic", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +@public:443 quic", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    // A deny rule for a name without a port is about all of that name.
    {"public -evil.example", "tcp 9.9.9.9 443 public evil.example", "deny rule 0"},
    {"public -evil.example", "tcp 9.9.9.9 8443 public evil.example", "deny rule 0"},
    {"public -evil.example", "udp 9.9.9.9 53 public evil.example", "deny rule 0"},
    {"public -evil.example", "icmp 9.9.9.9 53 public evil.example", "deny rule 0"},
    {"public -evil.example", "tcp 9.9.9.9 443 public a.evil.example", "allow default"},
    {"public -evil.example", "tcp 9.9.9.9 443 public", "allow default"},
    {"public -tcp/evil.example", "tcp 9.9.9.9 22 public evil.example", "deny rule 0"},
    {"public -tcp/evil.example", "udp 9.9.9.9 22 public evil.example", "allow default"},
    {"public -evil.example:443", "tcp 9.9.9.9 443 public evil.example", "deny rule 0"},
    {"public -evil.example:443", "tcp 9.9.9.9 80 public evil.example", "allow default"},
    {"public -evil.example:443", "udp 9.9.9.9 443 public evil.example", "allow default"},
    {"public -*.evil.example", "tcp 9.9.9.9 22 public a.b.evil.example", "deny rule 0"},
    {"public -*.evil.example", "tcp 9.9.9.9 22 public evil.example", "allow default"},
    {"public -.evil.example", "tcp 9.9.9.9 22 public evil.example", "deny rule 0"},
    {"public -.evil.example", "tcp 9.9.9.9 22 public EVIL.example", "deny rule 0"},
    // Denying wins, by name or by address, whatever is more specific.
    {"deny +api.example -.example.com", "tcp 9.9.9.9 443 public api.example", "allow rule 0"},
    {"deny +a.example.com -.example.com", "tcp 9.9.9.9 443 public a.example.com", "deny rule 1"},
    {"deny -.example.com +a.example.com", "tcp 9.9.9.9 443 public a.example.com", "deny rule 0"},
    {"deny +.example.com -a.example.com", "tcp 9.9.9.9 443 public a.example.com", "deny rule 1"},
    {"deny +.example.com -a.example.com", "tcp 9.9.9.9 443 public b.example.com", "allow rule 0"},
    {"deny +pypi.org -9.0.0.0/8", "tcp 9.9.9.9 443 public pypi.org", "deny rule 1"},
    {"deny +pypi.org -9.0.0.0/8", "tcp 8.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org -@public", "tcp 9.9.9.9 443 public pypi.org", "deny rule 1"},
    {"deny +9.9.9.9 -pypi.org", "tcp 9.9.9.9 443 public pypi.org", "deny rule 1"},
    {"deny +9.9.9.9 -pypi.org", "tcp 9.9.9.9 443 public", "allow rule 0"},
    {"deny +@public -pypi.org", "tcp 9.9.9.9 443 public pypi.org", "deny rule 1"},
    {"deny +@public -pypi.org", "tcp 9.9.9.9 443 public npmjs.org", "allow rule 0"},
    // Class and address rules count for what a name led to.
    {"deny +@public", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +@public:22", "tcp 9.9.9.9 443 public pypi.org", "deny default"},
    {"deny +pypi.org +9.9.9.9:22", "tcp 9.9.9.9 22 public pypi.org", "allow rule 1"},
    {"deny +pypi.org +9.9.9.9:22", "tcp 9.9.9.8 22 public pypi.org", "deny default"},
    // The floor holds against names.
    {"deny +pypi.org", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 vpn pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 127.0.0.1 443 loopback pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 127.0.0.1 443 self pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 169.254.169.254 80 metadata pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 169.254.1.1 80 linklocal pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 224.0.0.1 80 multicast pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 198.51.100.7 80 reserved pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp 0.0.0.0 80 public pypi.org", "deny rebind"},
    {"deny +pypi.org", "tcp :: 80 public pypi.org", "deny rebind"},
    {"deny +.pypi.org +@public", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    {"public", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    {"public", "tcp 10.1.2.3 443 lan", "deny floor"},
    {"ask", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    // A private name reaches lan and vpn, and nothing worse.
    {"deny +db.corp:5432!private", "tcp 10.1.2.3 5432 lan db.corp", "allow rule 0"},
    {"deny +db.corp:5432!private", "tcp 9.9.9.9 5432 vpn db.corp", "allow rule 0"},
    {"deny +db.corp:5432!private", "tcp 9.9.9.9 5432 public db.corp", "allow rule 0"},
    {"deny +db.corp:5432!private", "tcp 10.1.2.3 22 lan db.corp", "deny rebind"},
    {"deny +db.corp:5432!private", "tcp 10.1.2.3 5432 lan a.db.corp", "deny rebind"},
    {"deny +db.corp:5432!private", "tcp 10.1.2.3 5432 lan", "deny floor"},
    {"deny +db.corp:5432!private", "tcp 127.0.0.1 5432 loopback db.corp", "deny rebind"},
    {"deny +db.corp:5432!private", "tcp 10.1.2.3 5432 self db.corp", "deny rebind"},
    {"deny +db.corp:80!private", "tcp 169.254.169.254 80 metadata db.corp", "deny rebind"},
    {"deny +db.corp:5432!private", "tcp 198.51.100.7 5432 reserved db.corp", "deny rebind"},
    {"deny +db.corp:5432!private -@lan", "tcp 10.1.2.3 5432 lan db.corp", "deny rule 1"},
    {"deny +db.corp:5432!private -10.0.0.0/8", "tcp 10.1.2.3 5432 lan db.corp", "deny rule 1"},
    // Only an exact name may be private.
    {"deny +*.db.corp:5432!private", "tcp 10.1.2.3 5432 lan a.db.corp", "deny rebind"},
    {"deny +.db.corp:5432!private", "tcp 10.1.2.3 5432 lan db.corp", "deny rebind"},
    {"deny +.db.corp:5432!private", "tcp 9.9.9.9 5432 public db.corp", "allow rule 0"},
    // Nor may a rule for something else.
    {"deny +@public!private", "tcp 10.1.2.3 5432 lan db.corp", "deny rebind"},
    // What opens the floor by address opens it for what a name led to.
    {"deny +pypi.org +@lan", "tcp 10.1.2.3 443 lan pypi.org", "allow rule 1"},
    {"deny +pypi.org +10.0.0.0/8:443", "tcp 10.1.2.3 443 lan pypi.org", "allow rule 1"},
    {"deny +pypi.org +10.0.0.0/8:443", "tcp 10.1.2.3 80 lan pypi.org", "deny rebind"},
    // The host door has no name.
    {"deny +pypi.org", "door tcp 443", "deny floor"},
    {"deny +host:5432 -.cordon.internal", "door tcp 5432", "allow rule 0"},
    // Several that match.
    {"deny +.x.org +*.pypi.org +a.pypi.org", "tcp 9.9.9.9 443 public a.pypi.org", "allow rule 1"},
    {"deny +a.pypi.org +*.pypi.org", "tcp 9.9.9.9 443 public a.pypi.org", "allow rule 0"},
    {"deny +pypi.org:443 +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org:443 +pypi.org", "tcp 9.9.9.9 80 public pypi.org", "allow rule 1"},
    {"deny +9.9.9.9 +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"deny +pypi.org +9.9.9.9", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    // The one with limits or demands decides.
    {"deny +*.pypi.org +a.pypi.org!up", "tcp 9.9.9.9 443 public a.pypi.org", "allow rule 1"},
    {"deny +*.pypi.org +a.pypi.org!up", "tcp 9.9.9.9 443 public b.pypi.org", "allow rule 0"},
    {"deny +*.pypi.org +a.pypi.org!tls", "tcp 9.9.9.9 443 public a.pypi.org", "allow rule 1"},
    {"deny +@public +pypi.org!up", "tcp 9.9.9.9 443 public pypi.org", "allow rule 1"},
    {"deny +pypi.org!up +@public!tls", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"public +9.9.9.9!up", "tcp 9.9.9.9 443 public", "allow rule 0"},
    {"deny +9.9.9.0/24 +9.9.9.9!up", "tcp 9.9.9.9 443 public", "allow rule 1"},
    {"deny +9.9.9.9 +9.9.9.0/24!up", "tcp 9.9.9.9 443 public", "allow rule 1"},
    {"deny +9.9.9.9 +9.9.9.9:443!up", "tcp 9.9.9.9 443 public", "allow rule 1"},
    {"deny +9.9.9.9 +9.9.9.9:443!up", "tcp 9.9.9.9 80 public", "allow rule 0"},
    // Inbound flows have no names: neither allowed nor denied by any.
    {"deny +pypi.org", "in tcp 9.9.9.9 40000 public", "allow default"},
    {"deny -pypi.org", "in tcp 9.9.9.9 40000 public pypi.org", "allow default"},
};

TEST(PolicyNames, RuleVectors) {
  for (const Row& row : kNameRows) {
    const TextRequest request = make_request(row.request);
    EXPECT_EQ(describe(make_policy(row.policy).evaluate(request)), row.verdict)
        << row.policy << " | " << row.request;
  }
}

constexpr Row kAskRows[] = {
    // Precedence: floor, deny, ask, allow, default.
    {"deny ?pypi.org", "tcp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"deny ?pypi.org +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"deny +pypi.org ?pypi.org", "tcp 9.9.9.9 443 public pypi.org", "ask rule 1"},
    {"deny ?pypi.org -pypi.org", "tcp 9.9.9.9 443 public pypi.org", "deny rule 1"},
    {"public ?pypi.org", "tcp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"public ?pypi.org", "tcp 9.9.9.9 443 public npmjs.org", "allow default"},
    {"public ?.pypi.org +a.pypi.org", "tcp 9.9.9.9 443 public a.pypi.org", "ask rule 0"},
    {"public ?pypi.org:443 +pypi.org", "tcp 9.9.9.9 80 public pypi.org", "allow rule 1"},
    {"public ?@public", "tcp 9.9.9.9 443 public", "ask rule 0"},
    {"public ?@public +9.9.9.9", "tcp 9.9.9.9 443 public", "ask rule 0"},
    {"public ?9.0.0.0/8", "tcp 9.9.9.9 443 public", "ask rule 0"},
    {"public ?9.0.0.0/8", "tcp 8.8.8.8 443 public", "allow default"},
    {"public ?9.0.0.0/8", "tcp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"deny ?9.0.0.0/8 +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"public ?9.0.0.0/8:22", "tcp 9.9.9.9 443 public", "allow default"},
    // An ask rule for a name without a port asks about all of that name.
    {"public ?pypi.org", "tcp 9.9.9.9 8443 public pypi.org", "ask rule 0"},
    {"public ?pypi.org", "udp 9.9.9.9 443 public pypi.org", "ask rule 0"},
    {"deny ?pypi.org", "icmp 9.9.9.9 1 public pypi.org", "ask rule 0"},
    {"deny ?tcp/pypi.org", "udp 9.9.9.9 443 public pypi.org", "deny default"},
    // The floor is asked about only by a rule that could open it.
    {"deny ?@lan", "tcp 10.1.2.3 443 lan", "ask rule 0"},
    {"deny ?10.0.0.0/8", "tcp 10.1.2.3 443 lan", "ask rule 0"},
    {"deny ?@public", "tcp 10.1.2.3 443 lan", "deny floor"},
    {"deny ?pypi.org", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    {"deny ?db.corp:5432!private", "tcp 10.1.2.3 5432 lan db.corp", "ask rule 0"},
    {"deny ?db.corp:5432!private", "tcp 127.0.0.1 5432 loopback db.corp", "deny rebind"},
    {"deny ?169.254.0.0/16", "tcp 169.254.169.254 80 metadata", "deny floor"},
    {"deny ?169.254.169.254", "tcp 169.254.169.254 80 metadata", "ask rule 0"},
    {"deny +@metadata ?169.254.0.0/16", "tcp 169.254.169.254 80 metadata", "ask rule 1"},
    {"deny ?0.0.0.0/0", "tcp 0.0.0.0 80 self", "deny floor"},
    {"deny ?@self", "tcp 0.0.0.0 80 self", "ask rule 0"},
    {"deny ?host:5432", "door tcp 5432", "ask rule 0"},
    {"deny ?host:5432", "door tcp 5433", "deny floor"},
    {"deny ?host:5432 +host:5432", "door tcp 5432", "ask rule 0"},
    {"deny +::/0 ?10.0.0.0/8", "tcp ::ffff:10.1.2.3 80 lan", "ask rule 1"},
    {"deny ?10.0.0.0/8", "tcp ::ffff:10.1.2.3 80 lan", "deny floor"},
    {"public ?9.9.9.9", "tcp 64:ff9b::9.9.9.9 80 -", "ask rule 0"},
    // The default and the mode.
    {"ask", "tcp 9.9.9.9 443 public", "ask default"},
    {"ask", "tcp 9.9.9.9 443 public pypi.org", "ask default"},
    {"ask", "tcp 10.1.2.3 443 lan", "deny floor"},
    {"ask +pypi.org", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"ask -pypi.org", "tcp 9.9.9.9 443 public pypi.org", "deny rule 0"},
    {"ask", "door tcp 5432", "deny floor"},
    {"deny mode=ask", "tcp 9.9.9.9 443 public", "ask default"},
    {"deny mode=ask", "tcp 9.9.9.9 443 public pypi.org", "ask default"},
    {"deny mode=ask", "tcp 10.1.2.3 443 lan", "deny floor"},
    {"deny mode=ask", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
    {"deny -pypi.org mode=ask", "tcp 9.9.9.9 443 public pypi.org", "deny rule 0"},
    {"deny +pypi.org mode=ask", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
    {"public mode=ask", "tcp 9.9.9.9 443 public", "allow default"},
    {"ask mode=report", "tcp 9.9.9.9 443 public", "ask default"},
    {"deny mode=report", "tcp 9.9.9.9 443 public", "deny default"},
    {"deny mode=report", "tcp 10.1.2.3 443 lan", "deny floor"},
    // Inbound flows are not asked about.
    {"ask", "in tcp 9.9.9.9 40000 public", "allow default"},
    {"deny ?@public mode=ask", "in tcp 9.9.9.9 40000 public", "allow default"},
};

TEST(PolicyAsk, RuleVectors) {
  for (const Row& row : kAskRows) {
    const TextRequest request = make_request(row.request);
    EXPECT_EQ(describe(make_policy(row.policy).evaluate(request)), row.verdict)
        << row.policy << " | " << row.request;
  }
}

// The request's name and port alone; the last column is what both judge_name() and, after the
// slash, judge_unresolved() say.
constexpr Row kJudgeRows[] = {
    {"public", "tcp pypi.org 443", "allow default / allow default"},
    {"public", "tcp pypi.org 22", "allow default / allow default"},
    {"deny", "tcp pypi.org 443", "deny default / deny default"},
    {"ask", "tcp pypi.org 443", "ask default / ask default"},
    {"deny mode=ask", "tcp pypi.org 443", "ask default / ask default"},
    {"deny mode=report", "tcp pypi.org 443", "deny default / deny default"},
    {"deny +pypi.org", "tcp pypi.org 443", "allow rule 0 / allow rule 0"},
    {"deny +pypi.org", "tcp pypi.org 22", "allow rule 0 / deny default"},
    {"deny +pypi.org", "udp pypi.org 443", "allow rule 0 / deny default"},
    {"deny +pypi.org", "tcp a.pypi.org 443", "deny default / deny default"},
    {"deny +*.pypi.org", "tcp pypi.org 443", "deny default / deny default"},
    {"deny +*.pypi.org", "tcp a.pypi.org 443", "allow rule 0 / allow rule 0"},
    {"deny +icmp/gw.example", "tcp gw.example 443", "allow rule 0 / deny default"},
    {"deny +icmp/gw.example", "icmp gw.example 0", "allow rule 0 / allow rule 0"},
    {"deny ?pypi.org", "tcp pypi.org 443", "ask rule 0 / ask rule 0"},
    {"deny ?pypi.org +pypi.org", "tcp pypi.org 443", "ask rule 0 / ask rule 0"},
    {"deny ?pypi.org:22 +pypi.org", "tcp pypi.org 22", "allow rule 1 / ask rule 0"},
    // Denied altogether, or for some ports.
    {"public -evil.example", "tcp evil.example 443", "deny rule 0 / deny rule 0"},
    {"public -.evil.example", "tcp a.evil.example 443", "deny rule 0 / deny rule 0"},
    {"public -evil.example:443", "tcp evil.example 443", "allow default / deny rule 0"},
    {"public -evil.example:443", "tcp evil.example 80", "allow default / allow default"},
    {"public -tcp/evil.example", "udp evil.example 80", "allow default / allow default"},
    {"deny +evil.example -evil.example", "tcp evil.example 443", "deny rule 1 / deny rule 1"},
    {"deny +pypi.org -pypi.org:443", "tcp pypi.org 80", "allow rule 0 / allow rule 0"},
    {"deny +pypi.org -pypi.org:443", "tcp pypi.org 443", "allow rule 0 / deny rule 1"},
    // Each port that is allowed is denied too: nothing is left to resolve for.
    {"deny +pypi.org -pypi.org:443 -pypi.org:80", "tcp pypi.org 80", "deny default / deny rule 2"},
    {"deny +pypi.org:22 -pypi.org:1-65535", "tcp pypi.org 22", "deny rule 1 / deny rule 1"},
    {"deny +pypi.org:22 -@public:22", "tcp pypi.org 22", "deny default / deny rule 1"},
    {"deny +pypi.org -@public", "tcp pypi.org 443", "deny rule 1 / deny rule 1"},
    {"deny +db.corp!private -@public", "tcp db.corp 443", "allow rule 0 / allow rule 0"},
    {"deny +db.corp!private -@public -@lan", "tcp db.corp 80", "allow rule 0 / allow rule 0"},
    {"deny +db.corp!private -@public -@lan -@vpn", "tcp db.corp 80", "deny rule 1 / deny rule 1"},
    // Rules for @public make every name possible, those for other classes and for addresses none.
    {"deny +@public", "tcp pypi.org 443", "allow rule 0 / allow rule 0"},
    {"deny +@public:22", "tcp pypi.org 443", "allow rule 0 / deny default"},
    {"deny ?@public:22", "tcp pypi.org 22", "ask rule 0 / ask rule 0"},
    {"deny +@lan", "tcp pypi.org 443", "deny default / deny default"},
    {"deny +@vpn", "tcp pypi.org 443", "deny default / deny default"},
    {"deny ?@vpn", "tcp pypi.org 443", "deny default / deny default"},
    {"deny mode=ask +@lan", "tcp pypi.org 443", "ask default / ask default"},
    {"deny +@self +@loopback +@metadata", "tcp pypi.org 443", "deny default / deny default"},
    {"deny +9.9.9.9 +0.0.0.0/0", "tcp pypi.org 443", "deny default / deny default"},
    {"deny +host:443", "tcp pypi.org 443", "deny default / deny default"},
    // But a name that is looked up anyway may lead to such an address.
    {"deny +pypi.org +9.9.9.9:22", "tcp pypi.org 22", "allow rule 0 / allow rule 1"},
    {"deny +pypi.org ?9.9.9.9:22", "tcp pypi.org 22", "allow rule 0 / ask rule 1"},
    {"deny +pypi.org +@loopback:22", "tcp pypi.org 22", "allow rule 0 / allow rule 1"},
    {"deny +pypi.org +@lan:22", "tcp pypi.org 22", "allow rule 0 / allow rule 1"},
    {"deny +pypi.org +@lan:22", "tcp npmjs.org 22", "deny default / deny default"},
    {"deny +pypi.org ?@vpn:22", "tcp pypi.org 22", "allow rule 0 / ask rule 1"},
    {"deny +pypi.org +9.9.9.9:22", "tcp pypi.org 23", "allow rule 0 / deny default"},
    {"deny +pypi.org +9.9.9.9:22 -pypi.org:22", "tcp pypi.org 22", "allow rule 0 / deny rule 2"},
};

TEST(PolicyNames, AreJudgedBeforeTheyAreResolved) {
  for (const Row& row : kJudgeRows) {
    const Policy policy = make_policy(row.policy);
    const TextRequest request = make_request(row.request);
    EXPECT_EQ(describe(policy.judge_name(*request.name)) + " / " +
                  describe(policy.judge_unresolved(request)),
              row.verdict)
        << row.policy << " | " << row.request;
  }
}

TEST(PolicyNames, AFlowWithoutANameIsNoFlowByName) {
  EXPECT_EQ(describe(make_policy("public").judge_unresolved(Request())), "deny default");
}

TEST(PolicyNames, AreEnforcedWhereARuleOrAQuestionIsAboutThem) {
  EXPECT_FALSE(make_policy("public").names_are_enforced());
  EXPECT_FALSE(make_policy("deny").names_are_enforced());
  EXPECT_FALSE(make_policy("deny +@public -9.9.9.9 ?@lan").names_are_enforced());
  EXPECT_TRUE(make_policy("deny +pypi.org").names_are_enforced());
  EXPECT_TRUE(make_policy("public -pypi.org").names_are_enforced());
  EXPECT_TRUE(make_policy("public ?*.pypi.org").names_are_enforced());
  EXPECT_TRUE(make_policy("ask").names_are_enforced());
  EXPECT_TRUE(make_policy("deny mode=ask").names_are_enforced());
  EXPECT_TRUE(make_policy("deny mode=report").names_are_enforced());
  EXPECT_FALSE(make_policy("public mode=ask").names_are_enforced());
  EXPECT_FALSE(make_policy("public mode=report").names_are_enforced());
}

TEST(PolicyNames, RuleThatIsNoneIsNone) {
  const Policy policy = make_policy("deny +pypi.org");
  EXPECT_EQ(policy.rule_of(policy.evaluate(make_request("tcp 9.9.9.9 22 public pypi.org"))),
            nullptr);
  const Verdict verdict = policy.evaluate(make_request("tcp 9.9.9.9 443 public pypi.org"));
  EXPECT_EQ(policy.rule_of(verdict), policy.rules().data());
  EXPECT_EQ(policy.rule_of(Verdict{.rule = 1}), nullptr);
}

TEST(PolicyNames, OtherRecordsAreAskedForWhereARuleListsThem) {
  constexpr std::uint16_t kMx = 15;
  constexpr std::uint16_t kTxt = 16;
  constexpr std::uint16_t kSrv = 33;
  constexpr std::uint16_t kHttps = 65;
  const Policy policy = make_policy("deny +.corp.example!15!33 +a.corp.example!16 -b.example!15");
  const auto is_allowed = [&](std::string_view name, std::uint16_t type) {
    return policy.is_dns_type_allowed(make_name(name), type);
  };
  for (const char* const name : {"corp.example", "b.example", "elsewhere.example", "."}) {
    EXPECT_TRUE(is_allowed(name, 1)) << name;
    EXPECT_TRUE(is_allowed(name, 28)) << name;
    EXPECT_FALSE(is_allowed(name, kHttps)) << name;
  }
  EXPECT_TRUE(is_allowed("corp.example", kMx));
  EXPECT_TRUE(is_allowed("x.Corp.example", kSrv));
  EXPECT_FALSE(is_allowed("x.corp.example", kTxt));
  EXPECT_TRUE(is_allowed("a.corp.example", kTxt));
  EXPECT_TRUE(is_allowed("a.corp.example", kMx));
  EXPECT_FALSE(is_allowed("b.a.corp.example", kTxt));
  EXPECT_FALSE(is_allowed("b.example", kMx));
  EXPECT_FALSE(is_allowed("notcorp.example", kMx));
  EXPECT_TRUE(make_policy("deny +@public!15").is_dns_type_allowed(make_name("a.example"), kMx));
  EXPECT_FALSE(make_policy("deny +@loopback!15").is_dns_type_allowed(make_name("a.example"), kMx));
}

TEST(PolicyNames, LongAndDeepNamesMeetTheirSuffixes) {
  std::string deep = "example.com";
  while (deep.size() + 2 < 254) deep = "a." + deep;
  EXPECT_EQ(describe(make_policy("deny +*.example.com").judge_name(make_name(deep))),
            "allow rule 0");
  EXPECT_EQ(describe(make_policy("deny +" + deep).judge_name(make_name(deep))), "allow rule 0");
  EXPECT_EQ(describe(make_policy("deny +" + deep).judge_name(make_name(deep.substr(2)))),
            "deny default");
  EXPECT_EQ(describe(make_policy("deny +*.a.example.com").judge_name(make_name(deep))),
            "allow rule 0");
  const std::string label(63, 'x');
  EXPECT_EQ(
      describe(
          make_policy("deny +" + label + ".example").judge_name(make_name(label + ".example"))),
      "allow rule 0");
}

TEST(PolicyAllow, AnAnswerLetsWhatIsAskedBeDialledAndNothingElse) {
  const Policy policy = make_policy("deny ?pypi.org +npmjs.org -evil.example");
  Verdict verdict;
  const TextRequest asked = make_request("tcp 9.9.9.9 443 public pypi.org");
  EXPECT_FALSE(policy.allow(asked, verdict));
  EXPECT_EQ(describe(verdict), "ask rule 0");
  const auto allow_answered = [&](Request request) {
    request.is_answered = true;
    return policy.allow(request, verdict);
  };
  ASSERT_TRUE(allow_answered(asked));
  EXPECT_EQ(describe(verdict), "allow rule 0");
  EXPECT_TRUE(allow_answered(make_request("tcp 9.9.9.9 443 public npmjs.org")));
  for (const char* const denied : {"tcp 9.9.9.9 443 public evil.example", "tcp 9.9.9.9 443 public",
                                   "tcp 10.1.2.3 443 lan pypi.org", "door tcp 443"}) {
    EXPECT_FALSE(allow_answered(make_request(denied))) << denied;
    EXPECT_EQ(verdict.action, Action::kDeny) << denied;
  }
}

TEST(PolicyAllow, ReportingLetsPassAndStillSaysTheTruth) {
  const Policy policy = make_policy("deny +pypi.org -evil.example ?npmjs.org mode=report");
  const Row rows[] = {
      {"yes", "tcp 9.9.9.9 443 public pypi.org", "allow rule 0"},
      {"yes", "tcp 9.9.9.9 443 public evil.example", "deny rule 1"},
      {"yes", "tcp 9.9.9.9 443 public npmjs.org", "ask rule 2"},
      {"yes", "tcp 9.9.9.9 443 public", "deny default"},
      {"yes", "tcp 10.1.2.3 443 lan", "deny floor"},
      {"yes", "tcp 10.1.2.3 443 lan pypi.org", "deny rebind"},
      {"yes", "door tcp 5432", "deny floor"},
      {"no", "tcp 0.0.0.0 443 self", "deny floor"},
      {"no", "tcp 0.1.2.3 443 public", "deny floor"},
      {"no", "tcp :: 443 self", "deny floor"},
      {"no", "udp 224.0.0.251 5353 multicast", "deny floor"},
      {"no", "udp ff02::fb 5353 public", "deny default"},
      {"no", "udp 255.255.255.255 67 public", "deny default"},
  };
  for (const Row& row : rows) {
    const TextRequest request = make_request(row.request);
    Verdict verdict;
    EXPECT_EQ(policy.allow(request, verdict).has_value(), row.policy == std::string_view("yes"))
        << row.request;
    EXPECT_EQ(describe(verdict), row.verdict) << row.request;
    EXPECT_EQ(policy.evaluate(request), verdict);
  }
}

TEST(NamesOfRules, AreToldFromOthersWithoutReadingThemAsRules) {
  random_policy::Generator generator(91);
  constexpr std::string_view kOctets = "ab1-_.!*X0x";
  std::size_t taken = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string text;
    for (std::uint64_t size = 1 + generator.below(12); size > 0; --size) {
      text += kOctets[generator.below(kOctets.size())];
    }
    if (generator.is_one_in(4)) text += ".localhost";
    const auto name = DnsName::parse(text);
    if (!name) continue;
    const auto pattern = parse_name_pattern(name->to_string());
    const bool is_taken = pattern && pattern->kind == NamePattern::Kind::kExact &&
                          pattern->name == *name && text.find('.') < text.size() - 1;
    EXPECT_EQ(may_have_rule(*name), is_taken) << text;
    taken += is_taken;
  }
  EXPECT_GT(taken, 500U);
  EXPECT_FALSE(may_have_rule(DnsName()));
  EXPECT_FALSE(may_have_rule(*DnsName::parse("Host.cordon.internal")));
}

TEST(PolicyRemedy, NamesWhatTheGuestDialled) {
  const Row rows[] = {
      {"deny", "tcp 9.9.9.9 443 public evil.example", "--allow evil.example"},
      {"deny", "tcp 9.9.9.9 80 public Evil.Example", "--allow evil.example"},
      {"deny", "tcp 9.9.9.9 22 public github.com", "--allow github.com:22"},
      {"deny", "udp 9.9.9.9 123 public ntp.example", "--allow udp/ntp.example:123"},
      {"deny", "udp 9.9.9.9 443 public a.example", "--allow udp/a.example:443"},
      {"deny", "icmp 9.9.9.9 9 public gw.example", "--allow icmp/gw.example"},
      {"deny", "tcp evil.example 443", "--allow evil.example"},
      {"deny", "tcp evil.example 22", "--allow evil.example:22"},
      {"deny", "tcp evil.example 0", "--allow evil.example"},
      {"deny +evil.example", "tcp evil.example 8443", "--allow evil.example:8443"},
      {"deny -@self", "tcp evil.example 443", "--allow evil.example"},
      {"deny mode=report", "tcp evil.example 443", "--allow evil.example"},
      {"ask", "tcp evil.example 443", "--allow evil.example"},
      // A rule would still win.
      {"deny -evil.example", "tcp evil.example 443", ""},
      {"deny ?evil.example", "tcp evil.example 443", ""},
      {"deny -9.0.0.0/8", "tcp 9.9.9.9 443 public evil.example", ""},
      // What a name led to is opened by its address.
      {"deny +evil.example", "tcp 10.1.2.3 443 lan evil.example", "--allow 10.1.2.3:443"},
      // But nobody's name is a reason to open this host.
      {"deny +evil.example", "tcp 127.0.0.1 443 self evil.example", ""},
      {"deny +evil.example", "tcp 127.0.0.1 443 loopback evil.example", ""},
      // Names that no rule can hold.
      {"deny", "tcp com 443", "--allow com"},
      {"deny", "tcp localhost 443", ""},
      {"deny", "tcp a!b.example 443", ""},
      {"deny", "tcp 1.2.3.example.4 443", ""},
      {"deny", "tcp . 443", ""},
      {"deny", "tcp lan 443", ""},
      {"deny", "tcp host 443", ""},
      // Nor those that mean something else as a rule.
      {"deny", "tcp host 5432", ""},
      {"deny", "tcp @public 443", ""},
      {"deny", "udp udp/a.example 123", ""},
  };
  for (const Row& row : rows) {
    const Policy policy = make_policy(row.policy);
    const TextRequest request = make_request(row.request);
    const bool is_resolved = !request.request.dialled.address.is_unspecified();
    const Verdict verdict =
        is_resolved ? policy.evaluate(request) : policy.judge_unresolved(request);
    EXPECT_EQ(policy.remedy(request, verdict), row.verdict) << row.policy << " | " << row.request;
  }
}

TEST(PolicyRemedy, AFirstFlightThatNamesAnotherIsHelpedByARuleForThatOne) {
  const Policy policy = make_policy("deny +pypi.org");
  const Verdict verdict{.action = Action::kDeny, .reason = Reason::kFirstFlight};
  EXPECT_EQ(policy.remedy(make_request("tcp 9.9.9.9 443 public evil.example"), verdict),
            "--allow evil.example");
  EXPECT_EQ(policy.remedy(make_request("tcp 9.9.9.9 443 public pypi.org"), verdict), "")
      << "what is allowed is to be dialled by its own name";
}

TEST(PolicyRemedy, AFirstFlightOrALimitIsNotHelpedByARule) {
  const Policy policy = make_policy("deny +pypi.org!up");
  const TextRequest request = make_request("tcp 9.9.9.9 443 public pypi.org");
  for (const Reason reason : {Reason::kFirstFlight, Reason::kLimit, Reason::kRule}) {
    EXPECT_EQ(policy.remedy(request, {.action = Action::kDeny, .reason = reason, .rule = 0}), "")
        << reason_name(reason);
  }
  EXPECT_EQ(policy.remedy(request, {.action = Action::kDeny, .reason = Reason::kNoName}),
            "--allow 9.9.9.9:443");
}

}  // namespace
}  // namespace cordon
