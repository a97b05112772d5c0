// Questions with a real channel to a translator that only listens, and a log into a pipe.
#include "launcher/control/questions.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

PolicySnapshot asking() {
  PolicySnapshot snapshot;
  snapshot.policy.default_action = DefaultAction::kDeny;
  snapshot.policy.mode = PolicyMode::kAsk;
  return snapshot;
}

class Asked : public testing::Test {
 protected:
  Asked()
      : loop_(*SideLoop::open()),
        live_(asking()),
        log_(Verbosity::kQuiet, null_.get(), UniqueFd()) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ours_.reset(ends[0]);
    translators_.reset(ends[1]);
    link_.attach(ours_.get(), *loop_);
    log_.set_listener([this](std::string_view json) { events_.emplace_back(*parse_json(json)); });
    questions_.set_is_anybody_there([this] { return is_there_; });
    questions_.set_write_down([this](const std::string& to) {
      written_.push_back(to);
      return "written: " + to;
    });
  }
  static std::optional<Json> parse_json(std::string_view text) {
    return Json::parse(text, nullptr, false);
  }
  void ask(std::uint32_t id, const char* address, std::uint16_t port = 443,
           const char* name = nullptr) {
    Question question{.id = id};
    question.request.dialled = {*IpAddress::parse(address), port};
    question.request.guest = {*IpAddress::parse("10.77.0.2"), static_cast<std::uint16_t>(id)};
    question.request.address_class = AddressClass::kPublic;
    question.verdict = {.action = Action::kAsk, .reason = Reason::kDefault};
    if (name != nullptr) {
      name_ = *DnsName::parse(name);
      question.request.name = &name_;
    }
    questions_.ask(question, {});
    name_ = DnsName();  // Only valid during the call.
  }
  /// What the translator was told since the last time: "3 allow 4 deny".
  std::string told() {
    std::string text;
    Message message;
    while (::recv(translators_.get(), &message, sizeof(message), MSG_DONTWAIT) > 0) {
      EXPECT_EQ(message.kind, MessageKind::kAnswer);
      text += (text.empty() ? "" : " ") + std::to_string(message.id) + " " +
              std::string(action_name(static_cast<Action>(message.action)));
    }
    return text;
  }

  UniqueFd null_{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  UniqueFd ours_;
  UniqueFd translators_;
  std::unique_ptr<SideLoop> loop_;
  TranslatorLink link_;
  LivePolicy live_;
  EventLog log_;
  Questions questions_{*loop_, link_, log_, live_};
  bool is_there_ = true;
  DnsName name_;
  std::vector<Json> events_;
  std::vector<std::string> written_;
};

using Kind = Answer::Kind;

TEST_F(Asked, NobodyThereMeansNo) {
  is_there_ = false;
  ask(1, "198.51.100.7");
  EXPECT_EQ(told(), "1 deny");
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0]["event"], "answered");
  EXPECT_EQ(events_[0]["by"], "nobody");
  // And it is no answer of a person: the next one is asked.
  is_there_ = true;
  ask(2, "198.51.100.7");
  EXPECT_EQ(told(), "");
}

TEST_F(Asked, TheSameQuestionInFlightIsAskedOnce) {
  ask(1, "198.51.100.7");
  ask(2, "198.51.100.7");
  ask(3, "198.51.100.7", 80);
  EXPECT_EQ(questions_.pending().size(), 2U);
  EXPECT_EQ(events_.size(), 2U);
  EXPECT_TRUE(questions_.answer(1, {.kind = Kind::kOnce}, "terminal"));
  EXPECT_EQ(told(), "1 allow 2 allow");
  EXPECT_FALSE(questions_.answer(1, {.kind = Kind::kOnce}, "terminal"));
  EXPECT_FALSE(questions_.answer(2, {.kind = Kind::kOnce}, "terminal"));
}

TEST_F(Asked, OnceIsForThoseThatWaitOnly) {
  ask(1, "198.51.100.7");
  questions_.answer(1, {.kind = Kind::kOnce}, "terminal");
  ask(2, "198.51.100.7");
  EXPECT_EQ(told(), "1 allow");
  EXPECT_EQ(questions_.pending().size(), 1U);
}

TEST_F(Asked, ThisRunIsRememberedForExactlyThat) {
  ask(1, "198.18.0.1", 443, "api.example");
  questions_.answer(1, {.kind = Kind::kRun}, "terminal");
  ask(2, "198.18.0.1", 443, "API.example");
  EXPECT_EQ(told(), "1 allow 2 allow");
  ask(3, "198.18.0.1", 80, "api.example");
  ask(4, "198.18.0.2", 443, "other.example");
  EXPECT_EQ(told(), "");
  EXPECT_EQ(questions_.pending().size(), 2U);
}

TEST_F(Asked, NeverIsRememberedAndNoForAWhile) {
  ask(1, "198.51.100.7");
  questions_.answer(1, {.kind = Kind::kNeverInRun}, "terminal");
  ask(2, "198.51.100.7");
  ask(3, "198.51.100.8");
  questions_.answer(3, {.kind = Kind::kNo}, "terminal");
  ask(4, "198.51.100.8");
  EXPECT_EQ(told(), "1 deny 2 deny 3 deny 4 deny");
}

TEST_F(Asked, AlwaysIsWrittenDownAsARule) {
  ask(1, "198.18.0.1", 443, "api.example");
  questions_.answer(1, {.kind = Kind::kAlways}, "control");
  EXPECT_EQ(written_, std::vector<std::string>{"api.example:443"});
  EXPECT_EQ(events_.back()["text"], "written: api.example:443");
  ask(2, "198.18.0.1", 443, "api.example");
  EXPECT_EQ(told(), "1 allow 2 allow");
  EXPECT_EQ(written_.size(), 1U);
}

TEST_F(Asked, ARuleOfThisMomentAnswersWhatItIsAbout) {
  ask(1, "198.51.100.7");
  ask(2, "198.51.100.8");
  const Rule rule{.to = *parse_destination("198.51.100.7"), .action = Action::kDeny};
  questions_.answer_matching(Policy({.default_action = DefaultAction::kDeny, .rules = {rule}}),
                             "control");
  EXPECT_EQ(told(), "1 deny");
  EXPECT_EQ(questions_.pending().size(), 1U);
}

TEST_F(Asked, ManyAtOnceAreAScanAndDenied) {
  for (std::uint32_t id = 1; id <= 100; ++id) {
    ask(id, "198.51.100.7", static_cast<std::uint16_t>(1000 + id));
  }
  EXPECT_EQ(questions_.pending().size(), 64U);
}

TEST(Answers, AreReadAsAPersonWritesThem) {
  EXPECT_EQ(parse_answer(" Run \r")->kind, Kind::kRun);
  EXPECT_EQ(parse_answer("y")->kind, Kind::kOnce);
  EXPECT_EQ(parse_answer("t")->kind, Kind::kMinutes);
  EXPECT_EQ(parse_answer("t")->minutes, 10U);
  EXPECT_EQ(parse_answer("never")->kind, Kind::kNeverInRun);
  for (const char* text : {"", " ", "yess", "x", "allow", "o o"}) {
    EXPECT_FALSE(parse_answer(text)) << text;
  }
}

TEST(Answers, GrantTheNarrowestDestination) {
  Request request;
  request.dialled = {*IpAddress::parse("2001:db8::1"), 53};
  request.protocol = Protocol::kUdp;
  EXPECT_EQ(format_destination(*destination_of(request)), "udp/[2001:db8::1]:53");
  const DnsName name = *DnsName::parse("NTP.example");
  request.name = &name;
  EXPECT_EQ(format_destination(*destination_of(request)), "udp/ntp.example:53");
  request.protocol = Protocol::kIcmp;
  EXPECT_EQ(format_destination(*destination_of(request)), "icmp/ntp.example");
  request.protocol = Protocol::kTcp;
  request.dialled.port = 0;
  EXPECT_FALSE(destination_of(request));
}

}  // namespace
}  // namespace cordon
