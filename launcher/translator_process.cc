#include "launcher/translator_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore>
#include <span>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

#include "launcher/setup_channel.h"
#include "netstack/flow/descriptor_share.h"
#include "netstack/host/guest_socket_pool.h"
#include "netstack/host/worker.h"
#include "sandbox/descriptors.h"
#include "sandbox/limits.h"
#include "sandbox/namespaces.h"
#include "sandbox/translator_isolation.h"

namespace cordon {
namespace {

// A relay's stack is shallow; the usual 8 MiB would count where address space is limited.
constexpr std::size_t kRelayStack = std::size_t{256} * 1024;

// A thread that nobody waits for; `stack`: its octets, 0 for the usual ones.
Status start_thread(const char* what, void* (*body)(void*), void* argument, std::size_t stack = 0) {
  pthread_attr_t attributes;
  int error = ::pthread_attr_init(&attributes);
  if (error != 0) return errno_error(error, what);
  if (stack != 0) (void)::pthread_attr_setstacksize(&attributes, stack);
  (void)::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread{};
  error = ::pthread_create(&thread, &attributes, body, argument);
  (void)::pthread_attr_destroy(&attributes);
  if (error != 0) return errno_error(error, what);
  return {};
}

GuestNetworkPlan network_plan(const TranslatorConfig& config) {
  const auto length = [](const LinkFamily& family) { return family.subnet.length(); };
  return {.mtu = config.mtu,
          .guest_mac = config.guest_mac,
          .gateway_mac = config.gateway_mac,
          .v4 = {.address = config.v4.guest.to_string(),
                 .prefix_length = length(config.v4),
                 .gateway = config.v4.gateway.to_string()},
          .v6 = {.address = config.v6.guest.to_string(),
                 .prefix_length = length(config.v6),
                 .gateway = config.gateway_link_local.to_string()},
          .v6_link_local = config.guest_link_local.to_string()};
}

// The two threads meet three times: when N is there, when the guest side has given up its powers,
// and when the process is sealed and sockets may be made.
struct Meeting {
  std::binary_semaphore built{0};
  std::binary_semaphore sealed{0};
  Result<GuestSide> side = plain_error("not built");
};

// What the guest side works with, for as long as the process lives.
struct GuestSideStart {
  const TranslatorIsolationPlan& isolation;
  const GuestNetworkPlan& network;
  GuestSocketPool& pool;
  Meeting& meeting;
};

// The body of thread `guest side`.
void* live_guest_side(void* argument) {
  const GuestSideStart& start = *static_cast<const GuestSideStart*>(argument);
  Meeting& meeting = start.meeting;
  Result<GuestSide> side = build_guest_side(start.isolation, start.network);
  if (side) {
    if (Status restricted = restrict_guest_side(start.isolation); !restricted) {
      side = std::unexpected(std::move(restricted).error());
    }
  }
  const bool is_built = side.has_value();
  Steering steering = is_built ? std::move(side->network.steering) : Steering();
  meeting.side = std::move(side);
  meeting.built.release();
  if (!is_built) return nullptr;
  meeting.sealed.acquire();
  // Where it cannot be put back the guest's streams stall, and the notice has said why.
  start.pool.serve([&steering] { (void)steering.install(); });
  return nullptr;
}

// What the child is born with, made by the supervisor.
struct Birth {
  uid_t callers_uid = ::geteuid();  // asked outside: in the new namespace it has no number yet
  gid_t callers_gid = ::getegid();
  UniqueFd setup;
  UniqueFd control;
  UniqueFd words;
};

TranslatorIsolationPlan isolation_plan(const SandboxPlan& plan, const Birth& birth,
                                       std::uint64_t descriptors) {
  TranslatorIsolationPlan isolation{
      .kept_descriptors = {birth.setup.get(), birth.control.get()},
      .life_line = birth.setup.get(),
      .callers_uid = birth.callers_uid,
      .callers_gid = birth.callers_gid,
      .descriptor_limit = descriptors,
      .relays = std::max(plan.workers - 1, static_cast<unsigned>(relays_for_flows(descriptors))),
      .filter_mode = plan.explains_refused_calls ? FilterMode::kExplain : FilterMode::kKill,
      .failing_step = plan.failing_step};
  for (const PublishedSocket& published : plan.published) {
    isolation.kept_descriptors.push_back(published.socket.get());
  }
  return isolation;
}

Status tell_network(const Birth& birth, GuestSide& side) {
  SetupMessage message{.step = SetupStep::kNetworkReady};
  message.descriptors.push_back(std::move(side.user_namespace));
  message.descriptors.push_back(std::move(side.network_namespace));
  message.descriptors.push_back(std::move(side.network.sock_diag));
  return send_setup(birth.setup.get(), message);
}

// What a relay says to the main thread before its life begins. It lies where the relay may still
// touch it while it wakes the other up.
struct RelayStart {
  const TranslatorIsolationPlan* isolation = nullptr;
  RelayThread* relay = nullptr;
  std::binary_semaphore ready{0};
  Status outcome;
};

// The relays of this process. Their threads refer to it until the process ends.
struct Relaying {
  RelayThreads relays;
  std::array<RelayStart, kMaxWorkers> starts;
};

// The body of a relay's thread.
void* live_relay(void* argument) {
  RelayStart& start = *static_cast<RelayStart*>(argument);
  (void)::pthread_setname_np(::pthread_self(), "cordon relay");
  start.outcome = isolate_relay(*start.isolation, start.relay->descriptors());
  if (start.outcome) {
    start.relay->serve([&] { start.ready.release(); });
  } else {
    start.ready.release();
  }
  return nullptr;
}

Status start_relays(const TranslatorIsolationPlan& isolation, Relaying& relaying) {
  const std::vector<std::unique_ptr<RelayThread>>& relays = relaying.relays.threads;
  const std::span<RelayStart> starts = std::span(relaying.starts).first(relays.size());
  for (std::size_t i = 0; i < relays.size(); ++i) {
    starts[i].isolation = &isolation;
    starts[i].relay = relays[i].get();
    CORDON_TRY_STATUS(
        start_thread("start a relay (a thread)", live_relay, &starts[i], kRelayStack));
  }
  for (RelayStart& start : starts) {
    start.ready.acquire();
    CORDON_TRY_STATUS(std::move(start.outcome));
  }
  return {};
}

// From birth to the end of the loop; returns only errors of the set-up.
Result<int> live(SandboxPlan& plan, Birth& birth, Relaying& relaying) {
  CORDON_TRY(const std::uint64_t limit, limit_below(RLIMIT_NOFILE, plan.descriptor_limit));
  const TranslatorIsolationPlan isolation = isolation_plan(plan, birth, limit);
  CORDON_TRY(SelfCheckHandles handles, leave_callers_things(isolation));
  CORDON_TRY(const std::unique_ptr<GuestSocketPool> pool,
             GuestSocketPool::open(!plan.published.empty()));
  Meeting meeting;
  const GuestNetworkPlan network = network_plan(plan.translator);
  GuestSideStart start{
      .isolation = isolation, .network = network, .pool = *pool, .meeting = meeting};
  CORDON_TRY_STATUS(start_thread("start the guest side (a thread)", live_guest_side, &start));
  meeting.built.acquire();
  CORDON_TRY(GuestSide side, std::move(meeting.side));
  CORDON_TRY_STATUS(tell_network(birth, side));
  bool used_chroot = false;
  CORDON_TRY_STATUS(leave_file_system(isolation, handles, used_chroot));
  WorkerDescriptors descriptors{.tap = std::move(side.network.tap),
                                .has_udp_trains = side.network.has_udp_trains,
                                .link_index = side.network.link_index,
                                .control = std::move(birth.control),
                                .published = std::move(plan.published)};
  CORDON_TRY(relaying.relays, RelayThreads::open(isolation.relays, isolation.descriptor_limit,
                                                 plan.translator.shares_bulk_out));
  CORDON_TRY(
      const std::unique_ptr<Worker> worker,
      Worker::open(std::move(plan.translator), std::move(descriptors), *pool, relaying.relays));
  CORDON_TRY_STATUS(restrict_main(isolation));
  CORDON_TRY_STATUS(start_relays(isolation, relaying));
  CORDON_TRY_STATUS(seal(isolation, std::move(handles)));
  meeting.sealed.release();
  CORDON_TRY_STATUS(
      send_setup(birth.setup.get(), {.step = SetupStep::kSealed, .number = used_chroot ? 1 : 0}));
  birth.setup.reset();
  // The detached threads refer to this frame, so the process ends here and not by returning.
  ::_exit(worker->run() == 0 ? 0 : EXIT_FAILURE);
}

[[noreturn]] void translator_main(SandboxPlan& plan, Birth birth) {
  // A write that fails has nobody to be told to: without its words the supervisor tells the end
  // alone.
  (void)::dup2(birth.words.get(), STDERR_FILENO);
  Relaying relaying;
  const Result<int> outcome = live(plan, birth, relaying);
  if (!outcome) {
    (void)send_setup(
        birth.setup.get(),
        {.step = SetupStep::kFailed, .number = outcome.error().code, .text = outcome.error().what});
  }
  ::_exit(EXIT_FAILURE);
}

Status make_non_blocking(const UniqueFd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) return errno_error("fcntl");
  return {};
}

}  // namespace

Result<TranslatorProcess> start_translator(SandboxPlan& plan) {
  CORDON_TRY(auto setup, open_packet_pair());
  CORDON_TRY(auto control, open_packet_pair());
  CORDON_TRY(Pipe words, open_pipe());
  CORDON_TRY_STATUS(make_non_blocking(control.first));
  CORDON_TRY_STATUS(make_non_blocking(control.second));
  CORDON_TRY_STATUS(make_non_blocking(words.read));
  Birth birth{.setup = std::move(setup.second),
              .control = std::move(control.second),
              .words = std::move(words.write)};
  CORDON_TRY(const pid_t pid, clone_process(common_namespace_flags() | CLONE_NEWUSER));
  if (pid == 0) {
    setup.first.reset();
    control.first.reset();
    words.read.reset();
    translator_main(plan, std::move(birth));
  }
  plan.published.clear();
  return TranslatorProcess{.pid = pid,
                           .setup = std::move(setup.first),
                           .control = std::move(control.first),
                           .words = std::move(words.read)};
}

}  // namespace cordon
