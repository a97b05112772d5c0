// Datagrams of one flow that go on in one call of the kernel: what a turn of the loop brings is
// gathered into trains (UDP_SEGMENT towards the host, USO towards the guest; Linux 4.18 and 6.2).
//
// A train is what the kernel takes as one: datagrams of one flow with the same header fields, all
// of one size but the last, which may be shorter. One that does not fit lets the flow's train go
// and begins another, so the order within a flow stays as it was, and so does every datagram's
// length. Nothing waits for a train to fill up: whoever gathers lets all go at the end of the turn.
// Payloads are not copied; they stay where they are until then.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "netstack/base/bytes.h"
#include "netstack/flow/table.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

struct DatagramTrain {
  FlowId flow;
  /// `segment_size` is 0 for a single datagram.
  SendFields fields;
  /// One behind the other the train; each part is a datagram, or the only one is a train that came
  /// as such.
  std::span<const Bytes> parts;
};

class TrainSink {
 public:
  virtual ~TrainSink() = default;
  virtual void on_train(const DatagramTrain& train) = 0;
};

class DatagramTrains {
 public:
  /// UDP_MAX_SEGMENTS of every kernel that has UDP_SEGMENT.
  static constexpr std::size_t kMaxParts = 64;
  /// What fits an IPv4 packet behind its header and that of UDP.
  static constexpr std::size_t kMaxOctets = 65535 - 20 - 8;

  /// `fields.segment_size` not 0: `payload` is a train already, and stays as it is. `is_alone`: no
  /// other datagram may join. What has to go first goes to `sink`.
  void add(FlowId flow, const SendFields& fields, Bytes payload, bool is_alone, TrainSink& sink);
  /// All, in the order in which they began.
  void let_go(TrainSink& sink);

 private:
  // Flows of which a turn can have a train each; one more lets all go.
  static constexpr std::size_t kMaxOpen = 16;
  struct Open {
    FlowId flow;
    SendFields fields;
    std::size_t octets = 0;
    std::size_t count = 0;
    bool is_closed = false;  // its last datagram is there
    std::array<Bytes, kMaxParts> parts;
  };

  Open& train_of(FlowId flow, TrainSink& sink);
  static bool joins(const Open& train, const SendFields& fields, Bytes payload, bool is_alone);
  static void let_go(Open& train, TrainSink& sink);

  std::array<Open, kMaxOpen> open_;
  std::size_t count_ = 0;
};

}  // namespace cordon
