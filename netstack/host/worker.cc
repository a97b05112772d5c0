#include "netstack/host/worker.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <sys/random.h>
#include <sys/resource.h>
#include <utility>

#include "netstack/flow/descriptor_share.h"
#include "netstack/flow/limits.h"
#include "netstack/host/control_channel.h"
#include "netstack/host/event_loop.h"
#include "netstack/host/guest_sockets.h"
#include "netstack/host/host_monitor.h"
#include "netstack/host/host_sockets.h"
#include "netstack/host/policy_loader.h"
#include "netstack/host/policy_snapshot.h"
#include "netstack/host/route_query.h"
#include "netstack/host/socket_options.h"
#include "netstack/host/stream_relay.h"
#include "netstack/host/tap_device.h"
#include "netstack/translator.h"

namespace cordon {
namespace {

// Turns of one socket in one turn of the loop, each of UdpFlows' receive budget.
constexpr int kSocketTurns = 4;
// Changes on a host come in bursts (an interface going up is a dozen messages).
constexpr Duration kChangeRest = std::chrono::milliseconds(20);
// Chores wait for a turn without events, and no longer than this.
constexpr Duration kChoresWait = std::chrono::milliseconds(1);
// Sockets to close that are worth waking the guest side for.
constexpr std::size_t kHandedOver = 16;

// Each value is given once and kept nowhere; the kernel is asked for some at a time.
class KernelEntropy final : public Entropy {
 public:
  std::uint64_t next() override {
    if (next_ == values_.size()) refill();
    return std::exchange(values_[next_++], 0);
  }

 private:
  void refill() {
    // syscalls: getrandom
    while (getrandom(values_.data(), sizeof(values_), 0) != sizeof(values_)) {
    }
    next_ = 0;
  }

  std::array<std::uint64_t, 32> values_{};
  std::size_t next_ = values_.size();
};

TcpCapacity capacity_with(std::size_t relays) {
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);  // cannot fail with these arguments
  return tcp_capacity(limit.rlim_cur, relays);
}

class KernelWorker final : public Worker {
 public:
  struct Parts {
    EventLoop loop;
    FibQuery routes;
    HostMonitor monitor;
  };

  KernelWorker(Parts parts, TranslatorConfig config, WorkerDescriptors descriptors,
               GuestSocketPool& pool, RelayThreads& relays)
      : loop_(std::move(parts.loop)),
        routes_(std::move(parts.routes)),
        monitor_(std::move(parts.monitor)),
        tap_(std::move(descriptors.tap), descriptors.has_udp_trains),
        control_(std::move(descriptors.control)),
        published_(std::move(descriptors.published)),
        host_(loop_),
        pool_(pool),
        guest_(loop_, pool, descriptors.link_index),
        streams_(relays.workers_part),
        relays_(relays, loop_, streams_),
        translator_(std::move(config),
                    TranslatorSeams{.tap = tap_,
                                    .host = host_,
                                    .guest = guest_,
                                    .streams = streams_,
                                    .routes = routes_,
                                    .entropy = entropy_,
                                    .events = control_,
                                    .relays = relays_.has_any() ? &relays_ : nullptr},
                    ports(), capacity_with(relays.threads.size())) {}

  Status watch_all();
  int run() override;

 private:
  int serve();
  [[nodiscard]] bool has_chores();
  void do_chores(Instant now, bool is_idle);
  TranslatorPorts ports() const;
  Status watch(int descriptor, SocketOwner owner, const char* what);
  bool on_event(Instant now, const SocketEvent& event);
  bool on_tap(Instant now);
  bool on_control(Instant now);
  void on_policy_part(const Message& message, Bytes part);
  void load_policy(Instant now);
  void on_upstreams(Instant now, const Message& message);
  void on_monitor(Instant now);
  void on_relays(Instant now);

  EventLoop loop_;
  FibQuery routes_;
  HostMonitor monitor_;
  KernelEntropy entropy_;
  TapDevice tap_;
  ControlChannel control_;
  SnapshotAssembly policy_;
  PolicyLoader loader_;
  std::vector<PublishedSocket> published_;
  KernelHostSockets host_;
  GuestSocketPool& pool_;
  KernelGuestSockets guest_;
  StreamRelay streams_;
  KernelRelays relays_;
  Translator translator_;
  HostChange pending_change_;
  Instant change_due_ = kNever;
  Instant chores_since_{};
};

TranslatorPorts KernelWorker::ports() const {
  TranslatorPorts ports;
  for (const PublishedSocket& published : published_) {
    const SocketHandle handle{published.socket.get()};
    if (published.protocol == Protocol::kUdp) {
      ports.udp.push_back(
          {.socket = handle, .guest_port = published.guest_port, .sources = published.sources});
    } else {
      ports.tcp.push_back(
          {.listener = handle, .guest_port = published.guest_port, .sources = published.sources});
    }
  }
  return ports;
}

Status KernelWorker::watch(int descriptor, SocketOwner owner, const char* what) {
  if (const IoStatus watched = loop_.watch_readable(descriptor, owner); !watched) {
    return errno_error(watched.error().value, std::string("epoll_ctl: ") + what);
  }
  return {};
}

Status KernelWorker::watch_all() {
  CORDON_TRY_STATUS(watch(tap_.descriptor(), {.kind = OwnerKind::kTap}, "tap"));
  CORDON_TRY_STATUS(watch(control_.descriptor(), {.kind = OwnerKind::kControl}, "control"));
  CORDON_TRY_STATUS(watch(monitor_.descriptor(), {.kind = OwnerKind::kMonitor}, "monitor"));
  if (relays_.has_any()) {
    CORDON_TRY_STATUS(watch(relays_.news_descriptor(), {.kind = OwnerKind::kRelays}, "relays"));
  }
  std::uint32_t tcp = 0;
  std::uint32_t udp = 0;
  for (const PublishedSocket& published : published_) {
    const bool is_udp = published.protocol == Protocol::kUdp;
    if (is_udp) {
      preset_datagram(published.socket.get(), published.bound.address.family(), DatagramUse::kFlow);
    }
    const SocketOwner owner{.kind = is_udp ? OwnerKind::kPublished : OwnerKind::kListener,
                            .index = is_udp ? udp++ : tcp++};
    CORDON_TRY_STATUS(watch(published.socket.get(), owner, "published port"));
  }
  return {};
}

// The supervisor takes the channel's end for ours and lets the rest go by itself; ports that the
// next sandbox may want are free by then.
int KernelWorker::run() {
  const int error = serve();
  published_.clear();
  streams_.close_ended();
  control_.close();
  return error;
}

int KernelWorker::serve() {
  Instant now = monotonic_now();
  while (true) {
    const Instant due = std::min(translator_.next_deadline(), change_due_);
    const bool is_waited_for = has_chores() || loader_.is_busy();
    const std::span<const SocketEvent> events = loop_.wait(now, is_waited_for ? now : due);
    now = monotonic_now();
    for (const SocketEvent& event : events) {
      if (!on_event(now, event)) return 0;
    }
    if (change_due_ <= now) {
      change_due_ = kNever;
      translator_.on_host_change(now, pending_change_.is_address_lost);
      pending_change_ = {};
    }
    if (loader_.is_busy()) load_policy(now);
    if (translator_.next_deadline() <= now) translator_.on_deadline(now);
    do_chores(now, events.empty());
    if (translator_.is_tap_gone()) return EBADFD;
    host_.prepare();
  }
}

// What is somebody's due, but nobody waits for: sockets to close, and those for dials to come.
bool KernelWorker::has_chores() { return !streams_.ended().empty() || host_.wants_ready_sockets(); }

void KernelWorker::do_chores(Instant now, bool is_idle) {
  const std::span<UniqueFd> ended = streams_.ended();
  const bool is_late = now - chores_since_ >= kChoresWait;
  if (ended.empty()) {
    chores_since_ = now;
    if (is_idle && host_.wants_ready_sockets()) host_.make_ready_socket();
  } else if (!is_idle && ended.size() >= kHandedOver && pool_.close_soon(ended)) {
    // One wake-up of the other thread for many of them.
    chores_since_ = now;
    streams_.forget_ended();
  } else if (is_idle || is_late) {
    chores_since_ = now;
    streams_.close_ended();
  }
}

// False where the supervisor has gone: the end.
bool KernelWorker::on_event(Instant now, const SocketEvent& event) {
  switch (event.owner.kind) {
    case OwnerKind::kTap:
      return on_tap(now);
    case OwnerKind::kControl:
      return on_control(now);
    case OwnerKind::kMonitor:
      on_monitor(now);
      return true;
    case OwnerKind::kRelays:
      on_relays(now);
      return true;
    case OwnerKind::kTcpHost:
    case OwnerKind::kTcpAttempt:
    case OwnerKind::kTcpGuest:
    case OwnerKind::kUdp:
    case OwnerKind::kEcho:
    case OwnerKind::kDns:
    case OwnerKind::kListener:
    case OwnerKind::kPublished:
      break;
  }
  for (int i = 0; i < kSocketTurns; ++i) {
    if (!translator_.on_socket(now, event.owner, event.readiness)) break;
  }
  return true;
}

bool KernelWorker::on_tap(Instant now) {
  for (std::size_t taken = 0; taken < kFramesPerTurn;) {
    const IoResult<TapDevice::Batch> batch = tap_.receive(kFramesPerTurn - taken);
    // The device was deleted, and with it the guest's network.
    if (!batch) return false;
    translator_.on_frames(now, batch->frames);
    if (!batch->has_more) break;
    taken += batch->frames.size();
  }
  return true;
}

bool KernelWorker::on_control(Instant now) {
  while (true) {
    const IoResult<ControlChannel::Received> received = control_.receive();
    if (!received) return received.error().value == EAGAIN;
    const Message& message = received->message;
    if (message.kind == MessageKind::kDenialTold) translator_.on_denial_told(message.id);
    if (message.kind == MessageKind::kUpstreams) on_upstreams(now, message);
    if (message.kind == MessageKind::kIntroducedTold) translator_.on_introduced(now, message.id);
    if (message.kind == MessageKind::kAnswer) {
      const bool is_yes = message.action == static_cast<std::uint8_t>(Action::kAllow);
      translator_.on_answer(now, message.id, is_yes);
    }
    if (message.kind == MessageKind::kPolicyPart) on_policy_part(message, received->part);
    if (message.kind == MessageKind::kListFlows) {
      control_.end_list(translator_.list_flows(message.cursor));
    }
    if (message.kind == MessageKind::kReportFlows) {
      translator_.set_reports_flows(message.action != 0);
    }
  }
}

void KernelWorker::on_policy_part(const Message& message, Bytes part) {
  switch (policy_.add(message, part)) {
    case SnapshotAssembly::State::kIncomplete:
      return;
    case SnapshotAssembly::State::kBroken:
      return control_.policy_refused(message.generation);
    case SnapshotAssembly::State::kComplete:
      break;
  }
  loader_.add(message.generation, policy_.take());
}

void KernelWorker::load_policy(Instant now) {
  std::optional<PolicyLoader::Loaded> loaded = loader_.step();
  if (!loaded) return;
  if (!loaded->policy) return control_.policy_refused(loaded->generation);
  loader_.retire(translator_.set_policy(now, std::move(*loaded->policy), loaded->names));
  control_.policy_taken(loaded->generation);
}

void KernelWorker::on_upstreams(Instant now, const Message& message) {
  std::vector<Endpoint> upstreams;
  const std::size_t count = std::min<std::size_t>(message.upstream_count, kMaxUpstreams);
  for (std::size_t i = 0; i < count; ++i) {
    upstreams.push_back(decode_endpoint(message.upstreams[i]));
  }
  translator_.set_upstreams(now, std::move(upstreams));
}

void KernelWorker::on_monitor(Instant now) {
  const HostChange change = monitor_.read();
  if (!change.has_changed) return;
  pending_change_.is_address_lost = pending_change_.is_address_lost || change.is_address_lost;
  change_due_ = std::min(change_due_, now + kChangeRest);
}

void KernelWorker::on_relays(Instant now) {
  relays_.take_wake_up();
  while (const std::optional<RelayNews> news = relays_.next_news()) {
    translator_.on_relayed(now, *news);
  }
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::open(TranslatorConfig config, WorkerDescriptors descriptors,
                                             GuestSocketPool& pool, RelayThreads& relays) {
  CORDON_TRY(EventLoop loop, EventLoop::open());
  CORDON_TRY(FibQuery routes, FibQuery::open());
  CORDON_TRY(HostMonitor monitor, HostMonitor::open());
  config.start = monotonic_now();
  auto worker = std::make_unique<KernelWorker>(
      KernelWorker::Parts{
          .loop = std::move(loop), .routes = std::move(routes), .monitor = std::move(monitor)},
      std::move(config), std::move(descriptors), pool, relays);
  CORDON_TRY_STATUS(worker->watch_all());
  return std::unique_ptr<Worker>(std::move(worker));
}

}  // namespace cordon
