// The translator's process side: the event loop with everything that it waits for. open() makes all
// descriptors before the process is sealed; run() is the life after. Only run() blocks, and only in
// epoll_wait().
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/flow/translator_config.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/guest_socket_pool.h"
#include "netstack/host/kernel_relays.h"

namespace cordon {

/// A port of the host that leads into the guest. The supervisor bound the socket: it has the user's
/// own privileges, and a port that is taken is told before anything starts.
struct PublishedSocket {
  Protocol protocol = Protocol::kTcp;
  UniqueFd socket;  // TCP: listening; UDP: bound
  Endpoint bound;   // on the host
  std::uint16_t guest_port = 0;
  std::vector<Prefix> sources;  // who may come to it; empty: everybody
};

struct WorkerDescriptors {
  UniqueFd tap;                  // non-blocking, IFF_VNET_HDR with a 12-octet virtio header
  bool has_udp_trains = false;   // TUNSETOFFLOAD took TUN_F_USO4 and TUN_F_USO6
  std::uint32_t link_index = 0;  // of the tap, in the guest's namespace
  UniqueFd control;              // SOCK_SEQPACKET, host/messages.h
  std::vector<PublishedSocket> published;
};

class Worker {
 public:
  /// In the host's network namespace, before the seal. `pool` and `relays` outlive the worker.
  [[nodiscard]] static Result<std::unique_ptr<Worker>> open(TranslatorConfig config,
                                                            WorkerDescriptors descriptors,
                                                            GuestSocketPool& pool,
                                                            RelayThreads& relays);
  virtual ~Worker() = default;

  /// Returns when the supervisor closed the control channel (0), or when the tap is gone (the
  /// errno).
  virtual int run() = 0;
};

}  // namespace cordon
