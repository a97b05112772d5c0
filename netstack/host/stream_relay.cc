#include "netstack/host/stream_relay.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/host/socket_options.h"

namespace cordon {
namespace {

// Of all threads together, half of an unprivileged user's soft budget of 16,384 pages (pipe(7)).
constexpr int kWidePipe = 256 * 1024;
constexpr std::size_t kMaxWidePipes = 64;
constexpr int kNarrowPipe = 64 * 1024;
constexpr std::size_t kMaxNarrowPipes = 256;
// Of each size. Only one flow of a thread moves at a time, so one would do where every sink has
// room.
constexpr std::size_t kPipesKeptOpen = 4;
constexpr std::size_t kept_open(std::size_t part) {
  return std::max<std::size_t>(kPipesKeptOpen / part, 1);
}
// Sockets that wait to be closed.
constexpr std::size_t kMaxEnded = 64;
// What one splice may take: more than a pipe holds, so the pipe decides.
constexpr std::size_t kSpliceSize = std::size_t{1024} * 1024;
constexpr std::size_t kCopySize = std::size_t{16} * 1024;

// Of a call that returns at once. An interrupted one is as good as one that found nothing.
IoResult<std::size_t> octets_of(ssize_t result) {
  if (result >= 0) return static_cast<std::size_t>(result);
  return std::unexpected(Errno{errno == EINTR ? EAGAIN : errno});
}

}  // namespace

// One attempt: how many octets went, and why it stopped, if it did.
struct StreamRelay::Step {
  std::size_t octets = 0;
  std::optional<Transfer::Stop> stop;
  int error = 0;

  static Step source(ssize_t result) {
    if (result > 0) return Step{.octets = static_cast<std::size_t>(result)};
    if (result == 0) return Step{.stop = Transfer::Stop::kEnd};
    if (errno == EAGAIN || errno == EINTR) return Step{.stop = Transfer::Stop::kSourceEmpty};
    return Step{.stop = Transfer::Stop::kSourceError, .error = errno};
  }
  static Step sink(ssize_t result) {
    if (result >= 0) return Step{.octets = static_cast<std::size_t>(result)};
    if (errno == EAGAIN || errno == EINTR) return Step{.stop = Transfer::Stop::kSinkFull};
    return Step{.stop = Transfer::Stop::kSinkError, .error = errno};
  }
};

StreamRelay::StreamRelay(std::size_t part)
    : wide_pipes_(kMaxWidePipes / part),
      pipes_(wide_pipes_ + kMaxNarrowPipes / part),
      wide_(make_shelf(kWidePipe, kept_open(part), 0, wide_pipes_)),
      narrow_(make_shelf(kNarrowPipe, kept_open(part), static_cast<std::int32_t>(wide_pipes_),
                         pipes_.size() - wide_pipes_)),
      buffer_(kCopySize) {
  ended_.reserve(kMaxEnded);
}

StreamRelay::Shelf StreamRelay::make_shelf(int octets, std::size_t kept_open, std::int32_t first,
                                           std::size_t count) {
  Shelf shelf{.octets = octets, .kept_open = kept_open, .free = {}, .closed = {}};
  shelf.free.reserve(count);
  shelf.closed.reserve(count);
  for (std::size_t i = count; i > 0; --i) {
    shelf.closed.push_back(first + static_cast<std::int32_t>(i - 1));
  }
  return shelf;
}

Transfer StreamRelay::move(SocketHandle from, SocketHandle to, PipeHold& hold,
                           const SourceState& source, std::size_t budget) {
  Transfer transfer;
  bool is_small = source.is_small;
  const std::uint64_t held_before = hold.octets;
  const auto taken = [&] { return transfer.octets + hold.octets - held_before; };
  const auto stop_with = [&](const Step& step) {
    transfer.taken = taken();
    if (hold.octets == 0) give_pipe(hold);
    transfer.stop = *step.stop;
    transfer.error = step.error;
    return transfer;
  };
  while (true) {
    if (hold.octets > 0) {
      const Step step = drain_hold(to, hold);
      transfer.octets += step.octets;
      if (step.stop) return stop_with(step);
      continue;
    }
    if (taken() >= budget) return stop_with(Step{.stop = Transfer::Stop::kBudget});
    const std::size_t most = budget - taken();
    const bool has_pipe = take_pipe(hold);
    if (has_pipe && !is_small) {
      const Step step = splice_in(from, hold, most);
      if (step.stop) return stop_with(step);
      continue;
    }
    const Step step = has_pipe ? copy(from, to, hold, source, most) : peek_and_send(from, to, most);
    transfer.octets += step.octets;
    if (step.stop) return stop_with(step);
    is_small = is_small && transfer.octets < kCopySize;
  }
}

StreamRelay::Step StreamRelay::drain_hold(SocketHandle to, PipeHold& hold) {
  const Pipe& pipe = pipes_[static_cast<std::size_t>(hold.slot)];
  // syscalls: splice
  const Step step = Step::sink(splice(pipe.read.get(), nullptr, to.descriptor, nullptr, hold.octets,
                                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
  hold.octets -= static_cast<std::uint32_t>(step.octets);
  return step;
}

StreamRelay::Step StreamRelay::splice_in(SocketHandle from, PipeHold& hold, std::size_t most) {
  const Pipe& pipe = pipes_[static_cast<std::size_t>(hold.slot)];
  // syscalls: splice
  const Step step =
      Step::source(splice(from.descriptor, nullptr, pipe.write.get(), nullptr,
                          std::min(most, kSpliceSize), SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
  hold.octets += static_cast<std::uint32_t>(step.octets);
  return Step{.stop = step.stop, .error = step.error};
}

StreamRelay::Step StreamRelay::copy(SocketHandle from, SocketHandle to, PipeHold& hold,
                                    const SourceState& source, std::size_t most) {
  const std::size_t wanted = std::min(most, buffer_.size());
  // syscalls: recvfrom sendto
  const Step received = Step::source(recv(from.descriptor, buffer_.data(), wanted, MSG_DONTWAIT));
  if (received.stop) return received;
  const bool is_empty = received.octets < wanted && !source.has_urgent;
  const bool is_last = is_empty && source.has_ended;
  Step sent = Step::sink(::send(to.descriptor, buffer_.data(), received.octets,
                                MSG_DONTWAIT | MSG_NOSIGNAL | (is_last ? MSG_MORE : 0)));
  if (sent.stop == Transfer::Stop::kSinkError) return sent;
  if (sent.octets < received.octets) {
    // What the sink did not take waits in the pipe, which is empty and larger than the buffer.
    // syscalls: write
    const ssize_t kept = ::write(pipes_[static_cast<std::size_t>(hold.slot)].write.get(),
                                 buffer_.data() + sent.octets, received.octets - sent.octets);
    if (kept != static_cast<ssize_t>(received.octets - sent.octets)) {
      return Step{.octets = sent.octets, .stop = Transfer::Stop::kSinkError, .error = errno};
    }
    hold.octets = static_cast<std::uint32_t>(kept);
    sent.stop = Transfer::Stop::kSinkFull;
    return sent;
  }
  if (is_empty) sent.stop = is_last ? Transfer::Stop::kEnd : Transfer::Stop::kSourceEmpty;
  return sent;
}

StreamRelay::Step StreamRelay::peek_and_send(SocketHandle from, SocketHandle to, std::size_t most) {
  // syscalls: recvfrom(MSG_PEEK) sendto recvfrom(MSG_TRUNC)
  const Step seen = Step::source(recv(from.descriptor, buffer_.data(),
                                      std::min(most, buffer_.size()), MSG_DONTWAIT | MSG_PEEK));
  if (seen.stop) return seen;
  const Step sent =
      Step::sink(::send(to.descriptor, buffer_.data(), seen.octets, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent.octets > 0) {
    (void)recv(from.descriptor, buffer_.data(), sent.octets, MSG_DONTWAIT | MSG_TRUNC);
  }
  return sent;
}

StreamRelay::Shelf& StreamRelay::shelf_of(std::int32_t slot) {
  return static_cast<std::size_t>(slot) < wide_pipes_ ? wide_ : narrow_;
}

bool StreamRelay::open_pipe(Shelf& shelf) {
  std::array<int, 2> ends{};
  // syscalls: pipe2
  if (shelf.closed.empty() || pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return false;
  Pipe pipe{.read = UniqueFd(ends[0]), .write = UniqueFd(ends[1])};
  // A user whose pages are used up gets pipes of two pages: worse than none.
  // syscalls: fcntl(F_SETPIPE_SZ)
  if (fcntl(pipe.write.get(), F_SETPIPE_SZ, shelf.octets) < shelf.octets) return false;
  const std::int32_t slot = shelf.closed.back();
  shelf.closed.pop_back();
  pipes_[static_cast<std::size_t>(slot)] = std::move(pipe);
  shelf.free.push_back(slot);
  return true;
}

bool StreamRelay::take_pipe(PipeHold& hold) {
  return hold.slot >= 0 || take_pipe_from(wide_, hold) || take_pipe_from(narrow_, hold);
}

bool StreamRelay::take_pipe_from(Shelf& shelf, PipeHold& hold) {
  if (shelf.free.empty() && !open_pipe(shelf)) return false;
  hold.slot = shelf.free.back();
  shelf.free.pop_back();
  return true;
}

void StreamRelay::give_pipe(PipeHold& hold) {
  if (hold.slot < 0) return;
  Shelf& shelf = shelf_of(hold.slot);
  if (shelf.free.size() < shelf.kept_open) {
    shelf.free.push_back(hold.slot);
  } else {
    pipes_[static_cast<std::size_t>(hold.slot)] = {};
    shelf.closed.push_back(hold.slot);
  }
  hold.slot = -1;
}

void StreamRelay::drop_hold(PipeHold& hold) {
  if (hold.slot < 0) return;
  // What is left in the pipe is nobody's any more; the next flow must find it empty.
  const Pipe& pipe = pipes_[static_cast<std::size_t>(hold.slot)];
  while (hold.octets > 0) {
    const ssize_t size = ::read(pipe.read.get(), buffer_.data(), buffer_.size());
    if (size <= 0) break;
    hold.octets -= static_cast<std::uint32_t>(size);
  }
  hold.octets = 0;
  give_pipe(hold);
}

TakenPipe StreamRelay::take_out(PipeHold& hold) {
  TakenPipe taken;
  if (hold.octets > 0) {
    Pipe& pipe = pipes_[static_cast<std::size_t>(hold.slot)];
    taken = {.read = std::move(pipe.read), .write = std::move(pipe.write), .octets = hold.octets};
    shelf_of(hold.slot).closed.push_back(hold.slot);
    hold = PipeHold();
  }
  give_pipe(hold);
  return taken;
}

std::optional<PipeHold> StreamRelay::put_in(TakenPipe pipe) {
  if (!pipe.read.is_open()) return PipeHold();
  for (Shelf* const shelf : {&wide_, &narrow_}) {
    if (shelf->closed.empty()) continue;
    const std::int32_t slot = shelf->closed.back();
    shelf->closed.pop_back();
    pipes_[static_cast<std::size_t>(slot)] = {.read = std::move(pipe.read),
                                              .write = std::move(pipe.write)};
    return PipeHold{.slot = slot, .octets = pipe.octets};
  }
  return std::nullopt;
}

IoResult<std::size_t> StreamRelay::peek(SocketHandle socket, MutableBytes out) {
  // syscalls: recvfrom(MSG_PEEK)
  return octets_of(recv(socket.descriptor, out.data(), out.size(), MSG_DONTWAIT | MSG_PEEK));
}

IoResult<std::size_t> StreamRelay::receive(SocketHandle socket, MutableBytes out) {
  // syscalls: recvfrom
  return octets_of(recv(socket.descriptor, out.data(), out.size(), MSG_DONTWAIT));
}

IoResult<std::size_t> StreamRelay::send(SocketHandle socket, Bytes octets) {
  // syscalls: sendto
  return octets_of(
      ::send(socket.descriptor, octets.data(), octets.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

void StreamRelay::keep_alive(SocketHandle socket, Duration silence) {
  set_keep_alive(socket.descriptor, silence);
}

void StreamRelay::shutdown_write(SocketHandle socket) {
  // syscalls: shutdown
  (void)shutdown(socket.descriptor, SHUT_WR);  // A socket that is gone says so by its next event.
}

void StreamRelay::close(SocketHandle socket) {
  if (ended_.size() == kMaxEnded) close_ended();
  ended_.emplace_back(socket.descriptor);
}

void StreamRelay::close_ended() {
  for (UniqueFd& socket : ended_) close_in_good_order(std::move(socket));
  ended_.clear();
}

void StreamRelay::reset(SocketHandle socket) { UniqueFd(socket.descriptor).reset(); }

}  // namespace cordon
