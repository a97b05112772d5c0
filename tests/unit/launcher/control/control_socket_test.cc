// The control socket with real sockets in a folder of the test's own; the loop is turned by hand.
#include "launcher/control/control_socket.h"

#include <cstdlib>
#include <filesystem>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "launcher/clock.h"
#include "launcher/control/control_client.h"

namespace cordon {
namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = "/tmp/cordon_control.XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string inner() const { return path_ + "/cordon"; }
  [[nodiscard]] ControlFolder open() const {
    auto folder = ControlFolder::open_at(inner());
    EXPECT_TRUE(folder) << folder.error().message();
    return *std::move(folder);
  }

 private:
  std::string path_;
};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

TEST(ControlFolder, IsForItsOwnerAlone) {
  const Folder place;
  (void)place.open();
  EXPECT_EQ(mode_of(place.inner()), 0700U);
  ASSERT_EQ(::chmod(place.inner().c_str(), 0777), 0);
  (void)place.open();
  EXPECT_EQ(mode_of(place.inner()), 0700U);
}

TEST(ControlFolder, ALinkInItsPlaceIsRefused) {
  const Folder place;
  ASSERT_EQ(::symlink("/tmp", place.inner().c_str()), 0);
  EXPECT_FALSE(ControlFolder::open_at(place.inner()));
}

TEST(ControlFolder, GivesTheSmallestFreeNumberAndTheFileToItsOwnerAlone) {
  const Folder place;
  const ControlFolder folder = place.open();
  const auto one = folder.bind("");
  const auto two = folder.bind("");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->id, "1");
  EXPECT_EQ(two->id, "2");
  EXPECT_EQ(mode_of(place.inner() + "/1.sock"), 0600U);
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"1", "2"}));
}

TEST(ControlFolder, ANameIsGivenOnceAndAgainAfterItsSandboxWasKilled) {
  const Folder place;
  const ControlFolder folder = place.open();
  auto one = folder.bind("build");
  ASSERT_TRUE(one);
  const auto again = folder.bind("build");
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("runs already"), std::string::npos);
  one->socket.reset();  // Killed: the file stays.
  EXPECT_FALSE(folder.connect("build"));
  EXPECT_TRUE(folder.bind("build"));
}

TEST(ControlFolder, NamesThatLeadOutOfItAreNone) {
  const Folder place;
  const ControlFolder folder = place.open();
  for (const char* name : {"", "../x", "a/b", ".", "..", "-x", ".hidden", "a b", "a\n"}) {
    EXPECT_FALSE(is_sandbox_name(name)) << name;
    EXPECT_FALSE(folder.connect(name)) << name;
  }
  EXPECT_FALSE(is_sandbox_name(std::string(kLongestSandboxName + 1, 'a')));
  EXPECT_TRUE(is_sandbox_name("build-2.x_y"));
}

TEST(ControlFolder, NumbersStandBeforeNamesAndBySize) {
  const Folder place;
  const ControlFolder folder = place.open();
  std::vector<ControlFolder::Bound> kept;
  for (const char* name : {"b", "10", "a", "9", "100"}) {
    auto bound = folder.bind(name);
    ASSERT_TRUE(bound);
    kept.push_back(*std::move(bound));
  }
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"9", "10", "100", "a", "b"}));
}

TEST(ControlFolderPath, IsTheRuntimeDirectorysWhereThatIsOurs) {
  const Folder place;
  const uid_t uid = ::geteuid();
  const std::string ours = place.inner().substr(0, place.inner().rfind('/'));
  EXPECT_EQ(*ControlFolder::path_for(ours.c_str(), uid), place.inner());
  // Somebody else's: as if it were not set.
  const auto other = ControlFolder::path_for(ours.c_str(), uid + 4'000'000);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message().find("export XDG_RUNTIME_DIR="), std::string::npos);
  EXPECT_EQ(*ControlFolder::path_for(nullptr, 0), "/run/cordon");
  EXPECT_FALSE(ControlFolder::path_for(nullptr, 4'000'000));
}

/// Answers each line with itself, and counts.
class Echo final : public ControlHandler {
 public:
  void on_request(ClientId client, std::string_view line) override {
    lines.emplace_back(line);
    last = client;
    if (line == "end") return socket->end(client);
    socket->send(client, line);
  }
  void on_room(ClientId /*client*/) override { ++rooms; }
  void on_client_gone(ClientId /*client*/) override { ++gone; }

  ControlSocket* socket = nullptr;
  std::vector<std::string> lines;
  ClientId last = 0;
  int rooms = 0;
  int gone = 0;
};

class Server : public testing::Test {
 protected:
  Server() : folder_(place_.open()), socket_(place_.open(), *folder_.bind("")) {
    handler_.socket = &socket_;
    loop_ = *SideLoop::open();
    EXPECT_TRUE(socket_.serve(*loop_, handler_));
  }
  void turn() {
    for (int i = 0; i < 50; ++i) {
      pollfd wait{.fd = loop_->fd(), .events = POLLIN};
      if (::poll(&wait, 1, 0) <= 0) return;
      loop_->turn();
    }
  }
  UniqueFd connect() {
    auto client = folder_.connect(socket_.id());
    EXPECT_TRUE(client);
    turn();
    return *std::move(client);
  }
  static void say(const UniqueFd& client, std::string_view text) {
    ASSERT_EQ(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  /// What has come; "<end>" behind it where the connection is over.
  static std::string heard(const UniqueFd& client) {
    std::string text;
    for (;;) {
      char piece[4096];
      const ssize_t size = ::recv(client.get(), piece, sizeof(piece), MSG_DONTWAIT);
      if (size > 0) text.append(piece, static_cast<std::size_t>(size));
      if (size == 0 || (size < 0 && errno != EAGAIN)) return text + "<end>";
      if (size < 0) return text;
    }
  }

  Folder place_;
  ControlFolder folder_;
  std::unique_ptr<SideLoop> loop_;  // outlives the socket, which takes its watches back
  ControlSocket socket_;
  Echo handler_;
};

TEST_F(Server, AnswersLinesHoweverTheyAreCut) {
  const UniqueFd client = connect();
  say(client, "one\ntw");
  turn();
  say(client, "o\n\nthree");
  turn();
  EXPECT_EQ(heard(client), "one\ntwo\n\n");
  say(client, "\n");
  turn();
  EXPECT_EQ(heard(client), "three\n");
}

TEST_F(Server, AClientThatHasSaidAllStillReadsItsAnswer) {
  const UniqueFd client = connect();
  say(client, "last words\n");
  ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
  turn();
  EXPECT_EQ(heard(client), "last words\n");
  EXPECT_EQ(handler_.gone, 0);
}

TEST_F(Server, ALineTooLongEndsTheClientAndNobodyElse) {
  const UniqueFd client = connect();
  const UniqueFd other = connect();
  const std::string fits(kLongestRequest, 'x');
  say(client, fits + "\n");
  turn();
  EXPECT_EQ(heard(client), fits + "\n");
  say(client, fits + "x");
  turn();
  EXPECT_EQ(heard(client), "{\"ok\":false,\"error\":\"the line is too long\"}\n<end>");
  EXPECT_EQ(handler_.gone, 1);
  say(other, "still here\n");
  turn();
  EXPECT_EQ(heard(other), "still here\n");
}

TEST_F(Server, AClientTooManyIsTurnedAwayInWords) {
  std::vector<UniqueFd> clients;
  for (std::size_t i = 0; i < kMostClients; ++i) clients.push_back(connect());
  const UniqueFd late = connect();
  EXPECT_EQ(heard(late), "{\"ok\":false,\"error\":\"too many clients at once\"}\n<end>");
  clients.pop_back();
  turn();
  const UniqueFd next = connect();
  say(next, "in\n");
  turn();
  EXPECT_EQ(heard(next), "in\n");
}

TEST_F(Server, AClientThatDoesNotReadIsDroppedAndNothingWaits) {
  const UniqueFd client = connect();
  say(client, "begin\n");
  turn();
  const std::string line(60'000, 'x');
  for (int i = 0; i < 100; ++i) {
    socket_.send(handler_.last, line);
    turn();
  }
  EXPECT_EQ(handler_.gone, 1);
  EXPECT_EQ(socket_.waiting(handler_.last), 0U);
}

TEST_F(Server, SaysWhenThereIsRoomAgain) {
  const UniqueFd client = connect();
  say(client, "begin\n");
  turn();
  EXPECT_EQ(handler_.rooms, 1);
  // More than a socket's buffer, less than what is dropped.
  for (int i = 0; i < 10; ++i) socket_.send(handler_.last, std::string(90'000, 'x'));
  turn();
  EXPECT_GT(socket_.waiting(handler_.last), 0U);
  while (socket_.waiting(handler_.last) > 0) {
    (void)heard(client);
    turn();
  }
  EXPECT_EQ(handler_.rooms, 2);
}

TEST_F(Server, EndsAClientOnceAllIsSent) {
  const UniqueFd client = connect();
  say(client, "first\nend\nnever heard\n");
  turn();
  EXPECT_EQ(heard(client), "first\n<end>");
  EXPECT_EQ(handler_.lines, (std::vector<std::string>{"first", "end"}));
}

TEST_F(Server, ItsFileGoesWithIt) {
  {
    ControlSocket other(place_.open(), *folder_.bind("gone"));
    EXPECT_TRUE(std::filesystem::exists(place_.inner() + "/gone.sock"));
  }
  EXPECT_FALSE(std::filesystem::exists(place_.inner() + "/gone.sock"));
}

TEST(SideLoop, CallsBackInTimeAndInOrder) {
  const auto loop = *SideLoop::open();
  std::string calls;
  const Instant now = monotonic_now();
  (void)loop->at(now + std::chrono::milliseconds(2), [&] { calls += 'b'; });
  (void)loop->at(now + std::chrono::milliseconds(1), [&] {
    calls += 'a';
    (void)loop->at(now, [&] { calls += 'c'; });
  });
  const auto cancelled = loop->at(now, [&] { calls += 'x'; });
  loop->cancel(cancelled);
  const Instant deadline = now + std::chrono::seconds(10);
  while (calls.size() < 3 && monotonic_now() < deadline) {
    pollfd wait{.fd = loop->fd(), .events = POLLIN};
    ::poll(&wait, 1, 100);
    loop->turn();
  }
  EXPECT_EQ(calls.find('x'), std::string::npos);
  EXPECT_EQ(calls.size(), 3U);
  EXPECT_LT(calls.find('a'), calls.find('b'));
}

TEST(JsonObjects, ThatCameOverASocketAreReadWithoutTrust) {
  EXPECT_FALSE(parse_object(""));
  EXPECT_FALSE(parse_object("[1]"));
  EXPECT_FALSE(parse_object("{\"a\":"));
  EXPECT_FALSE(parse_object(std::string(4000, '[')));
  const auto object = parse_object(R"({"a":1,"b":"x","c":true,"d":-1,"e":[1]})");
  ASSERT_TRUE(object);
  EXPECT_EQ(number_of(*object, "a"), 1U);
  EXPECT_EQ(number_of(*object, "b"), 0U);
  EXPECT_EQ(number_of(*object, "d"), 0U);
  EXPECT_EQ(text_of(*object, "b"), "x");
  EXPECT_EQ(text_of(*object, "e"), "");
  EXPECT_TRUE(truth_of(*object, "c"));
  EXPECT_FALSE(truth_of(*object, "a"));
}

}  // namespace
}  // namespace cordon
