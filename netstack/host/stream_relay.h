// Streams on the kernel: octets from one socket to the other without a copy through user space, by
// splice() and a pipe between.
//
// Where little is to be expected it is copied (recv, send): two calls instead of four. A read that
// comes back short has emptied its socket (unless an urgent mark cut it): whatever comes later
// is an event of its own, so nobody reads only to be told EAGAIN, and behind a FIN that is known to
// be there nobody reads only to be told 0. Octets before such a FIN wait for it (MSG_MORE), and the
// sink gets both in one segment.
//
// A pipe is held by a flow only while it holds octets that the sink would not take. Pipes are wide
// where they may be: with 256 KiB instead of the kernel's own 64 KiB a gigabyte costs some 40 %
// less. An unprivileged user's budget of pipe pages (fs.pipe-user-pages-soft, pipe(7)) is all
// programs' of that user together, which is why pipes are opened at need, few stay open, and there
// is an end of them. Without one at hand nothing is taken from the source that the sink has not
// taken: the octets are peeked at, sent, and then consumed.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/seams/guest_sockets.h"

namespace cordon {

/// A pipe on its way to another StreamRelay, with what it holds.
struct TakenPipe {
  UniqueFd read;
  UniqueFd write;
  std::uint32_t octets = 0;
};

class StreamRelay final : public Streams {
 public:
  /// `part`: has one in so many of the pipes that a process may have.
  explicit StreamRelay(std::size_t part = 1);

  Transfer move(SocketHandle from, SocketHandle to, PipeHold& hold, const SourceState& source,
                std::size_t budget) override;
  IoResult<std::size_t> peek(SocketHandle socket, MutableBytes out) override;
  IoResult<std::size_t> receive(SocketHandle socket, MutableBytes out) override;
  IoResult<std::size_t> send(SocketHandle socket, Bytes octets) override;
  void keep_alive(SocketHandle socket, Duration silence) override;
  void shutdown_write(SocketHandle socket) override;
  void close(SocketHandle socket) override;
  void reset(SocketHandle socket) override;
  void drop_hold(PipeHold& hold) override;

  /// The hold's pipe, where it has one; the hold is empty then.
  [[nodiscard]] TakenPipe take_out(PipeHold& hold);
  /// A hold of that pipe; nothing where no place is left for it. A pipe that is not open is an
  /// empty hold.
  [[nodiscard]] std::optional<PipeHold> put_in(TakenPipe pipe);

  /// What close() left for a moment without anything else to do: most of it is the work of telling
  /// the peer, and the next connection need not wait for that. Whoever takes them over releases
  /// them, and forgets them here.
  [[nodiscard]] std::span<UniqueFd> ended() { return ended_; }
  void forget_ended() { ended_.clear(); }
  void close_ended();

 private:
  struct Pipe {
    UniqueFd read;
    UniqueFd write;
  };
  /// Pipes of one size. A slot is a place in pipes_, in [first, first + count).
  struct Shelf {
    int octets;                        // that each pipe holds
    std::size_t kept_open;             // while nobody holds them
    std::vector<std::int32_t> free;    // open and empty
    std::vector<std::int32_t> closed;  // places without a pipe
  };
  struct Step;

  static Shelf make_shelf(int octets, std::size_t kept_open, std::int32_t first, std::size_t count);
  Shelf& shelf_of(std::int32_t slot);
  bool open_pipe(Shelf& shelf);
  bool take_pipe(PipeHold& hold);
  bool take_pipe_from(Shelf& shelf, PipeHold& hold);
  void give_pipe(PipeHold& hold);
  Step drain_hold(SocketHandle to, PipeHold& hold);
  Step splice_in(SocketHandle from, PipeHold& hold, std::size_t most);
  Step copy(SocketHandle from, SocketHandle to, PipeHold& hold, const SourceState& source,
            std::size_t most);
  Step peek_and_send(SocketHandle from, SocketHandle to, std::size_t most);

  std::size_t wide_pipes_;
  std::vector<Pipe> pipes_;
  Shelf wide_;
  Shelf narrow_;
  std::vector<std::uint8_t> buffer_;
  std::vector<UniqueFd> ended_;  // to be closed in good order
};

}  // namespace cordon
