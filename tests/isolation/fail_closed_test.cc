// Fail closed (I-08): each isolation step is made to fail in turn. The command must not run, the
// status must be cordon's own, and the words must name the step.

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "launcher/supervisor.h"

namespace cordon {
namespace {

// Everything that isolate_translator's and isolate_guest's lists hold for a guest with a network.
constexpr std::array kSteps{
    "translator: close descriptors",
    "translator: descriptor limit",
    "translator: id maps",
    "translator: die with the supervisor",
    "translator: end on SIGTERM",
    "translator: open /proc",
    "translator: network namespace",
    "translator: guest network",
    "translator: guest side capabilities",
    "translator: guest side no_new_privs",
    "translator: guest side landlock",
    "translator: guest side self check",
    "translator: empty root",
    "translator: open the empty root",
    "translator: session",
    "translator: limits",
    "translator: not dumpable",
    "translator: capabilities",
    "translator: no_new_privs",
    "translator: no executable memory",
    "translator: landlock",
    "translator: relay descriptors",
    "translator: relay self check",
    "translator: self check",
    "translator: syscall filter",
    "guest: enter user namespace",
    "guest: enter network namespace",
    "guest: die with the supervisor",
    "guest: mount propagation",
    "guest: mount /sys",
    "guest: name service files",
    "guest: mount /proc",
    "guest: protect kernel settings",
    "guest: inner user namespace",
    "guest: no nested namespaces",
};

constexpr std::array kOfflineSteps{
    "guest: user namespace",    "guest: outer id maps", "guest: network namespace",
    "guest: offline network",   "guest: mount /proc",   "guest: limits",
    "guest: no_new_privs",      "guest: capabilities",  "guest: id maps",
    "guest: close descriptors", "guest: self check",    "guest: syscall filter",
};

class Words final : public TranslatorListener {
 public:
  void on_started(const RunningSandbox&) override { text += "[started]"; }
  void on_message(Bytes) override {}
  void on_trouble(std::string_view words) override { text += words; }
  std::string text;
};

SandboxPlan plan_for(const std::string& marker) {
  SandboxPlan plan;
  plan.command = {"touch", marker};
  plan.resolv_conf = "nameserver 10.77.0.3\n";
  plan.workers = 2;
  plan.hosts_lines = "10.77.0.4 host.cordon.internal\n";
  auto& config = plan.translator;
  const auto address = [](const char* text) { return *IpAddress::parse(text); };
  config.v4 = {.subnet = *Prefix::parse("10.77.0.0/24"),
               .guest = address("10.77.0.2"),
               .gateway = address("10.77.0.1"),
               .resolver = address("10.77.0.3"),
               .host_door = address("10.77.0.4")};
  config.v6 = {.subnet = *Prefix::parse("fd63:6f72:646f::/64"),
               .guest = address("fd63:6f72:646f::2"),
               .gateway = address("fd63:6f72:646f::1"),
               .resolver = address("fd63:6f72:646f::3"),
               .host_door = address("fd63:6f72:646f::4")};
  config.guest_link_local = address("fe80::ff:fe00:2");
  config.gateway_link_local = address("fe80::1");
  return plan;
}

struct Outcome {
  int status = -1;
  std::string words;
};

// In a process of its own: supervise() is for once, and for one thread.
Outcome supervised(SandboxPlan plan) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    Words words;
    const int status = supervise(std::move(plan), words);
    const ssize_t written = write(ends[1], words.text.data(), words.text.size());
    _exit(written < 0 ? 1 : status);
  }
  close(ends[1]);
  Outcome outcome;
  char piece[512];
  for (ssize_t got = 0; (got = read(ends[0], piece, sizeof(piece))) > 0;) {
    outcome.words.append(piece, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return outcome;
}

class FailClosed : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "cordon-fail-closed-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    marker_ = directory_ + "/ran";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void expect_closed(SandboxPlan plan, const std::string& step) {
    // Of "actor: step" the plan takes the step; both actors have some names in common.
    const std::string name = step.substr(step.find(": ") + 2);
    plan.failing_step = name;
    const Outcome outcome = supervised(std::move(plan));
    EXPECT_EQ(outcome.status, kExitOwnFailure) << step;
    EXPECT_NE(outcome.words.find(name), std::string::npos) << outcome.words;
    EXPECT_NE(outcome.words.find("Operation not permitted"), std::string::npos) << outcome.words;
    EXPECT_EQ(outcome.words.find("[started]"), std::string::npos) << outcome.words;
    EXPECT_FALSE(std::filesystem::exists(marker_)) << step << ": the command ran";
  }

  std::string directory_;
  std::string marker_;
};

TEST_F(FailClosed, TheCommandRunsWhereNothingFails) {
  const Outcome outcome = supervised(plan_for(marker_));
  EXPECT_EQ(outcome.status, 0) << outcome.words;
  EXPECT_EQ(outcome.words, "[started]");
  EXPECT_TRUE(std::filesystem::exists(marker_));
}

TEST_F(FailClosed, EachStepOfTranslatorAndGuest) {
  for (const char* const step : kSteps) expect_closed(plan_for(marker_), step);
}

TEST_F(FailClosed, EachStepOfAnOfflineGuest) {
  for (const char* const step : kOfflineSteps) {
    SandboxPlan plan = plan_for(marker_);
    plan.is_offline = true;
    expect_closed(std::move(plan), step);
  }
}

}  // namespace
}  // namespace cordon
