#include "launcher/host/host_watch.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <poll.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

class HostWatchFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "host_watch_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    std::filesystem::create_directories(directory_ / "etc");
    std::filesystem::create_directories(directory_ / "run");
    path_ = directory_ / "etc" / "resolv.conf";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static void write(const std::filesystem::path& path, const char* text) {
    std::ofstream(path) << text;
  }

  void open(std::chrono::nanoseconds first_watch = std::chrono::nanoseconds(0)) {
    auto watch = HostWatch::open(path_, first_watch);
    ASSERT_TRUE(watch) << watch.error().message();
    watch_ = *std::move(watch);
  }

  /// What is told within a second; nullopt where nothing is.
  std::optional<std::vector<Endpoint>> told() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (std::chrono::steady_clock::now() < end) {
      pollfd ready{.fd = watch_->fd(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 100) < 1) continue;
      if (auto servers = watch_->on_readable()) return servers;
    }
    return std::nullopt;
  }

  std::string told_first() {
    const auto servers = told();
    if (!servers) return "nothing told";
    return servers->empty() ? "none" : servers->front().address.to_string();
  }

  std::filesystem::path directory_;
  std::filesystem::path path_;
  std::unique_ptr<HostWatch> watch_;
};

TEST_F(HostWatchFile, TellsAFileThatIsRewritten) {
  write(path_, "nameserver 9.9.9.9\n");
  open();
  ASSERT_EQ(watch_->current().servers.size(), 1U);
  write(path_, "nameserver 9.9.9.10\n");
  EXPECT_EQ(told_first(), "9.9.9.10");
}

TEST_F(HostWatchFile, TellsWhatChangedBeforeTheWatchesWereLaidAndWhatChangesAfter) {
  write(path_, "nameserver 9.9.9.9\n");
  open(std::chrono::milliseconds(100));
  write(path_, "nameserver 9.9.9.10\n");
  EXPECT_EQ(told_first(), "9.9.9.10");
  write(path_, "nameserver 9.9.9.11\n");
  EXPECT_EQ(told_first(), "9.9.9.11");
}

TEST_F(HostWatchFile, TellsAFileThatIsReplacedByRenaming) {
  write(path_, "nameserver 9.9.9.9\n");
  open();
  for (const char* next : {"9.9.9.11", "9.9.9.12"}) {
    write(directory_ / "etc" / "new", (std::string("nameserver ") + next + "\n").c_str());
    std::filesystem::rename(directory_ / "etc" / "new", path_);
    EXPECT_EQ(told_first(), next);
  }
}

TEST_F(HostWatchFile, FollowsALinkAndItsTargetAndANewTarget) {
  write(directory_ / "run" / "local", "nameserver 127.0.0.53\n");
  write(directory_ / "run" / "vpn", "nameserver 10.8.0.1\n");
  std::filesystem::create_symlink("../run/local", path_);
  open();
  write(directory_ / "run" / "local", "nameserver 127.0.0.54\n");
  EXPECT_EQ(told_first(), "127.0.0.54");
  std::filesystem::create_symlink("../run/vpn", directory_ / "etc" / "new");
  std::filesystem::rename(directory_ / "etc" / "new", path_);
  EXPECT_EQ(told_first(), "10.8.0.1");
  write(directory_ / "run" / "vpn", "nameserver 10.8.0.2\n");
  EXPECT_EQ(told_first(), "10.8.0.2");
}

TEST_F(HostWatchFile, TellsThatNoServerIsLeftAndThatOneIsBack) {
  write(path_, "nameserver 9.9.9.9\n");
  open();
  std::filesystem::remove(path_);
  EXPECT_EQ(told_first(), "none");
  write(path_, "nameserver 9.9.9.9\n");
  EXPECT_EQ(told_first(), "9.9.9.9");
}

TEST_F(HostWatchFile, SeesTheTargetsDirectoryComing) {
  std::filesystem::create_symlink(directory_ / "run" / "resolve" / "resolv.conf", path_);
  open();
  EXPECT_TRUE(watch_->current().servers.empty());
  std::filesystem::create_directories(directory_ / "run" / "resolve");
  EXPECT_EQ(told_first(), "nothing told");
  write(directory_ / "run" / "resolve" / "resolv.conf", "nameserver 127.0.0.53\n");
  EXPECT_EQ(told_first(), "127.0.0.53");
}

TEST_F(HostWatchFile, SeesWritesThatGoByAnotherDirectory) {
  write(directory_ / "run" / "same", "nameserver 9.9.9.9\n");
  std::filesystem::create_hard_link(directory_ / "run" / "same", path_);
  open();
  for (const char* next : {"9.9.9.13", "9.9.9.14"}) {
    write(directory_ / "run" / "same", (std::string("nameserver ") + next + "\n").c_str());
    EXPECT_EQ(told_first(), next);
  }
}

TEST_F(HostWatchFile, SaysNothingWhereTheServersStayTheSame) {
  write(path_, "nameserver 9.9.9.9\n");
  open();
  write(path_, "search corp.example\nnameserver 9.9.9.9\n");
  EXPECT_EQ(told_first(), "nothing told");
  EXPECT_EQ(watch_->current().search, "corp.example");
}

TEST_F(HostWatchFile, ALoopOfLinksIsNoTrap) {
  std::filesystem::create_symlink("resolv.conf", path_);
  open();
  EXPECT_TRUE(watch_->current().servers.empty());
}

}  // namespace
}  // namespace cordon
