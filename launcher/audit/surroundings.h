// Everything outside that an audit needs, opened before the sandbox starts and gone when it ends:
// the servers, the watch, the process that may be harmed, the descriptors that are left open. And
// the plan that tells the prober of them.
//
// What cannot be had on this host (a port below 1024, a protocol that the kernel lacks) is noted
// with its row: no failure of an audit may look like a clean sandbox.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/audit/host_view.h"
#include "launcher/audit/outbound_watch.h"
#include "launcher/audit/plan.h"
#include "launcher/audit/servers.h"
#include "launcher/audit/verdicts.h"
#include "launcher/audit/witness.h"

namespace cordon::audit {

struct SurroundingsOptions {
  std::optional<IpAddress> added_address;
  std::optional<Endpoint> allowed;
};

class Surroundings {
 public:
  /// `program`: the path of this program's file.
  [[nodiscard]] static Result<std::unique_ptr<Surroundings>> open(
      const std::string& program, const SurroundingsOptions& options);
  Surroundings(const Surroundings&) = delete;
  Surroundings& operator=(const Surroundings&) = delete;
  /// Removes its files, and the added address.
  ~Surroundings();

  [[nodiscard]] const ProbePlan& plan() const { return plan_; }
  [[nodiscard]] std::vector<int> left_open() const;
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

  /// One turn of everything that waits, looks and ticks; about `OutboundWatch::kLookEvery…` long.
  void turn();
  [[nodiscard]] Waiter& waiter() { return waiter_; }
  /// The prober dials the added address from now on.
  void add_address();
  /// All that was heard, and why some rows cannot be judged. Once, at the end.
  [[nodiscard]] Observations observations(std::string_view typed) &&;

 private:
  explicit Surroundings(std::string nonce);
  void open_host_servers(const std::vector<InterfaceAddress>& addresses);
  void open_published_port(const std::vector<InterfaceAddress>& addresses);
  void open_other_transports(const std::vector<InterfaceAddress>& addresses);
  void open_name_servers(const std::vector<InterfaceAddress>& addresses);
  void open_groups();
  void open_raw_sockets();
  void open_unix_sockets();
  void plan_neighbours(const std::vector<InterfaceAddress>& addresses);
  void plan_wrapped_addresses();
  [[nodiscard]] Status leave_descriptors_open();
  [[nodiscard]] Status start_witness(const std::string& program);
  void plan_added_address(const std::optional<IpAddress>& address);
  void open_lo_traffic();
  void note_what_the_kernel_refuses();
  void remember_pair(Leak leak, const Endpoint& at);

  ProbePlan plan_;
  Observations observations_;
  std::vector<std::string> remarks_;
  std::vector<Target> watched_;
  std::vector<IpAddress> unused_;  // addresses among them that nobody else looks for
  Waiter waiter_;
  Servers servers_;
  std::unique_ptr<OutboundWatch> watch_;
  std::optional<Witness> witness_;
  std::string secret_;
  std::string folder_;          // of the inherited directory; removed at the end
  std::string control_socket_;  // removed at the end
  std::string made_folder_;     // the control folder, where it was not there before
  UniqueFd inherited_directory_;
  UniqueFd inherited_stream_;
  UniqueFd lo_sender_;
  bool has_added_address_ = false;
  unsigned turns_ = 0;
};

}  // namespace cordon::audit
