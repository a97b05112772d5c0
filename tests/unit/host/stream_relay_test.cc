// The relay between real sockets: pairs of connected unix streams, which peek, splice and end as
// TCP sockets do.
#include "netstack/host/stream_relay.h"

#include <array>
#include <cerrno>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/host/tcp_pair.h"

namespace cordon {
namespace {

/// peer <-> ours; the relay holds `ours`.
struct Link {
  Link() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    peer.reset(ends[0]);
    socket.reset(ends[1]);
  }
  [[nodiscard]] SocketHandle ours() const { return SocketHandle{socket.get()}; }
  void says(std::string_view text) const {
    EXPECT_EQ(send(peer.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::string hears() const {
    std::string text(1 << 20, '\0');
    const ssize_t size = recv(peer.get(), text.data(), text.size(), MSG_DONTWAIT);
    text.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return text;
  }

  UniqueFd peer;
  UniqueFd socket;
};

std::string_view text_of(const std::array<std::uint8_t, 64>& octets, std::size_t size) {
  return {reinterpret_cast<const char*>(octets.data()), size};
}

class StreamRelayMove : public testing::TestWithParam<bool> {
 protected:
  StreamRelay relay;
  Link from;
  Link to;
  PipeHold hold;
};

TEST_P(StreamRelayMove, TakesExactlyItsBudgetAndNotOneOctetMore) {
  from.says("GET / HTTP/1.1\r\n\r\nthe next request");
  const Transfer transfer = relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, 18);
  EXPECT_EQ(transfer.stop, Transfer::Stop::kBudget);
  EXPECT_EQ(transfer.octets, 18U);
  EXPECT_EQ(transfer.taken, 18U);
  EXPECT_EQ(to.hears(), "GET / HTTP/1.1\r\n\r\n");
  std::array<std::uint8_t, 64> rest{};
  const IoResult<std::size_t> size = relay.peek(from.ours(), rest);
  ASSERT_TRUE(size);
  EXPECT_EQ(text_of(rest, *size), "the next request");
}

TEST_P(StreamRelayMove, TakesNothingWithoutABudget) {
  from.says("octets");
  const Transfer transfer = relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, 0);
  EXPECT_EQ(transfer.stop, Transfer::Stop::kBudget);
  EXPECT_EQ(transfer.taken, 0U);
  EXPECT_EQ(to.hears(), "");
}

TEST_P(StreamRelayMove, ToldLessThanItsBudgetFindsTheSourceEmptyAndThenItsEnd) {
  from.says("octets");
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, 100).stop,
            Transfer::Stop::kSourceEmpty);
  shutdown(from.peer.get(), SHUT_WR);
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, 100).stop,
            Transfer::Stop::kEnd);
  EXPECT_EQ(to.hears(), "octets");
}

TEST_P(StreamRelayMove, FindsTheEndBehindOctetsThatCameBeforeIt) {
  from.says("octets");
  shutdown(from.peer.get(), SHUT_WR);
  const SourceState ended{.is_small = GetParam(), .has_ended = true};
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, ended, 100).stop, Transfer::Stop::kEnd);
  EXPECT_EQ(to.hears(), "octets");
}

TEST_P(StreamRelayMove, GoesOnAfterAnEndThatLiesBehindMoreThanItsBudget) {
  from.says("GET / HTTP/1.1\r\n\r\nthe next request");
  shutdown(from.peer.get(), SHUT_WR);
  const SourceState ended{.is_small = GetParam(), .has_ended = true};
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, ended, 18).stop, Transfer::Stop::kBudget);
  EXPECT_EQ(to.hears(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, ended, 100).stop, Transfer::Stop::kEnd);
  EXPECT_EQ(to.hears(), "the next request");
}

TEST_P(StreamRelayMove, CountsWhatAFullSinkLeavesInThePipeAsTaken) {
  const std::string flood(8192, 'x');
  std::uint64_t taken = 0;
  std::uint64_t octets = 0;
  Transfer transfer;
  for (int i = 0; i < 1000 && transfer.stop != Transfer::Stop::kSinkFull; ++i) {
    from.says(flood);
    transfer = relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, flood.size());
    taken += transfer.taken;
    octets += transfer.octets;
  }
  ASSERT_EQ(transfer.stop, Transfer::Stop::kSinkFull);
  EXPECT_EQ(taken, octets + hold.octets);
  std::uint64_t heard = 0;
  for (std::string text = to.hears(); !text.empty(); text = to.hears()) heard += text.size();
  transfer =
      relay.move(from.ours(), to.ours(), hold, {.is_small = GetParam()}, 0);  // the hold alone
  EXPECT_EQ(transfer.taken, 0U);
  EXPECT_EQ(hold.octets, 0U);
  heard += to.hears().size();
  EXPECT_EQ(heard, taken);
}

INSTANTIATE_TEST_SUITE_P(SmallAndLarge, StreamRelayMove, testing::Bool(),
                         [](const auto& row) { return row.param ? "Copied" : "Spliced"; });

struct TcpLink {
  TcpLink() {
    TcpPair pair = tcp_pair();
    peer = std::move(pair.peer);
    socket = std::move(pair.accepted);
  }
  [[nodiscard]] SocketHandle ours() const { return SocketHandle{socket.get()}; }
  [[nodiscard]] bool waits_for(short events) const {
    pollfd wanted{.fd = socket.get(), .events = events, .revents = 0};
    return poll(&wanted, 1, 2000) == 1 && (wanted.revents & events) == events;
  }
  [[nodiscard]] std::uint32_t segments() const {
    tcp_info info{};
    socklen_t size = sizeof(info);
    EXPECT_EQ(getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_data_segs_out;
  }

  UniqueFd peer;
  UniqueFd socket;
};

TEST(StreamRelayTcp, OctetsBehindAnUrgentMarkAreNotLeftBehind) {
  StreamRelay relay;
  const TcpLink from;
  const Link to;
  PipeHold hold;
  ASSERT_EQ(send(from.peer.get(), "before!", 7, MSG_OOB), 7);
  ASSERT_EQ(send(from.peer.get(), "behind", 6, 0), 6);
  ASSERT_TRUE(from.waits_for(POLLIN | POLLPRI));
  const SourceState urgent{.is_small = true, .has_urgent = true};
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, urgent, 100).stop,
            Transfer::Stop::kSourceEmpty);
  EXPECT_EQ(to.hears(), "beforebehind");
}

TEST(StreamRelayTcp, TheLastOctetsGoTogetherWithTheFin) {
  StreamRelay relay;
  const Link from;
  const TcpLink to;
  PipeHold hold;
  from.says("the last words");
  shutdown(from.peer.get(), SHUT_WR);
  const SourceState ended{.is_small = true, .has_ended = true};
  EXPECT_EQ(relay.move(from.ours(), to.ours(), hold, ended, 100).stop, Transfer::Stop::kEnd);
  EXPECT_EQ(to.segments(), 0U) << "they wait for it";
  relay.shutdown_write(to.ours());
  std::array<char, 64> heard{};
  EXPECT_EQ(recv(to.peer.get(), heard.data(), heard.size(), MSG_WAITALL), 14);
  EXPECT_EQ(to.segments(), 1U);
}

/// A stream whose sink takes nothing more: what it says waits in front of the relay, or in a pipe.
struct BlockedStream {
  Transfer fill(StreamRelay& relay) {
    const std::string piece(4096, 'x');
    Transfer transfer;
    for (int i = 0; i < 1000 && transfer.stop != Transfer::Stop::kSinkFull; ++i) {
      from.says(piece);
      said += piece.size();
      transfer = relay.move(from.ours(), to.ours(), hold, SourceState{}, piece.size());
    }
    return transfer;
  }
  /// All that the far end hears until nothing more comes.
  std::size_t drain(StreamRelay& relay) {
    std::size_t heard = 0;
    for (std::string text = to.hears(); !text.empty(); text = to.hears()) {
      heard += text.size();
      relay.move(from.ours(), to.ours(), hold, SourceState{}, std::size_t{1} << 20);
    }
    return heard;
  }

  Link from;
  Link to;
  PipeHold hold;
  std::size_t said = 0;
};

TEST(StreamRelayPipes, AreNotNeededWhereMoreStreamsWaitThanThereArePipes) {
  rlimit descriptors{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  StreamRelay relay;
  std::vector<BlockedStream> streams(400);
  std::size_t without_a_pipe = 0;
  for (BlockedStream& stream : streams) {
    ASSERT_EQ(stream.fill(relay).stop, Transfer::Stop::kSinkFull);
    if (stream.hold.slot < 0) ++without_a_pipe;
  }
  EXPECT_GT(without_a_pipe, 0U);
  EXPECT_LT(without_a_pipe, streams.size());
  for (BlockedStream& stream : streams) EXPECT_EQ(stream.drain(relay), stream.said);
}

TEST(StreamRelayPeek, LeavesWhatItSaw) {
  StreamRelay relay;
  const Link link;
  std::array<std::uint8_t, 64> out{};
  EXPECT_EQ(relay.peek(link.ours(), out).error().value, EAGAIN);
  link.says("hello");
  for (int i = 0; i < 2; ++i) {
    const IoResult<std::size_t> size = relay.peek(link.ours(), out);
    ASSERT_TRUE(size);
    EXPECT_EQ(text_of(out, *size), "hello");
  }
  EXPECT_EQ(relay.receive(link.ours(), MutableBytes(out).first(2)), std::size_t{2});
  EXPECT_EQ(text_of(out, 2), "he");
  shutdown(link.peer.get(), SHUT_WR);
  EXPECT_EQ(relay.receive(link.ours(), out), std::size_t{3});
  EXPECT_EQ(relay.peek(link.ours(), out), std::size_t{0}) << "the end";
}

TEST(StreamRelaySend, SendsWhatThereIsRoomFor) {
  StreamRelay relay;
  const Link link;
  const std::array<std::uint8_t, 2> octets{'n', 'o'};
  EXPECT_EQ(relay.send(link.ours(), octets), std::size_t{2});
  EXPECT_EQ(link.hears(), "no");
  const std::vector<std::uint8_t> flood(1 << 16);
  IoResult<std::size_t> sent = 1;
  for (int i = 0; i < 1000 && sent; ++i) sent = relay.send(link.ours(), flood);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, EAGAIN);
}

TEST(StreamRelaySend, IntoABrokenStreamIsAnErrorAndNoSignal) {
  StreamRelay relay;
  Link link;
  link.peer.reset();
  const std::array<std::uint8_t, 1> octet{'x'};
  EXPECT_EQ(relay.send(link.ours(), octet).error().value, EPIPE);
}

}  // namespace
}  // namespace cordon
