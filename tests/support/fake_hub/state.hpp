#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_STATE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_STATE_HPP

#include "support/fake_hub/connection.hpp"
#include "support/fake_hub/fake_hub.hpp"
#include "support/fake_hub/job_process.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hf::testing_support::fake {

using clock = std::chrono::steady_clock;

struct log_entry {
  std::string time;
  std::string line;
};

/// A job; guarded by the hub's mutex.
struct job {
  std::string id;
  std::string name_space;
  nlohmann::json request;
  std::map<std::string, std::string> labels;
  std::string created_at;
  std::string started_at;
  std::string finished_at;
  std::string stage = "SCHEDULING";
  std::string message;
  std::vector<log_entry> log;
  job_behaviour behaviour;
  /// Somebody wants it to end, with this stage and message.
  std::string end_stage;
  std::string end_message;
  std::optional<job_process> process;
  /// Its network; -1: the hub's own.
  int network = -1;
  /// The agent's port as the hub reaches it.
  std::uint16_t port = 49983;
  /// No process left.
  bool finished = false;
  std::thread runner;

  [[nodiscard]] bool ended() const { return stage != "SCHEDULING" && stage != "RUNNING"; }
};

/// Everything that the parts of the double share.
struct state {
  explicit state(fake_hub_options how);
  ~state();

  fake_hub_options options;
  bool isolate = false;
  std::string agent_bytes;
  std::string agent_sha256;
  /// Holds the emulated bucket and the jobs' directories.
  std::string directory;
  int home_network = -1;
  std::uint16_t port = 0;

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool stopping = false;
  std::string token;
  bool credit = true;
  std::list<std::shared_ptr<job>> jobs;
  std::vector<hub_fault> faults;
  std::deque<job_behaviour> behaviours;
  std::vector<seen_request> seen;
  std::vector<std::string> violations;
  /// Names in the agent's bucket.
  std::vector<std::string> bucket;
  /// "type:source" to a local directory.
  std::map<std::string, std::string> volumes;
  clock::time_point window_start{};
  int window_used = 0;

  // connections
  struct worker {
    std::thread thread;
    int fd = -1;
    bool done = false;
  };
  std::list<worker> workers;
  std::vector<int> listeners;
  int wake = -1;
  std::thread acceptor;

  void accept_loop();
  void add_listener(int fd);
  void serve(connection& on);

  // jobs
  std::shared_ptr<job> create(std::string const& name_space, nlohmann::json const& body);
  void run(std::shared_ptr<job> const& which);
  void run_process(std::shared_ptr<job> const& which);
  void end(job& which, std::string const& stage, std::string const& message);
  std::shared_ptr<job> find(std::string const& id) const;
  nlohmann::json info(job const& which) const;
  std::string proxy_url(job const& which) const;

  /// The fault for this request, used up; nothing when there is none.
  std::optional<hub_fault> take_fault(hub_route where);
  void violation(request const& rq, std::string const& what);
  void record(hub_route where, request const& rq, int status);
};

/// Now, as the Hub writes it.
std::string time_text();

/// Sends an answer with a body; false when the peer is gone.
bool respond(connection& on, int status, std::string const& body, http::headers fields = {},
             bool no_body = false);
bool respond_json(connection& on, int status, nlohmann::json const& body,
                  http::headers fields = {});

/// What is wrong with the body of a job's start; empty: nothing.
std::string check_job(nlohmann::json const& body, std::vector<std::string> const& flavors,
                      bool any_client);
/// What is wrong with labels.
std::string check_labels(nlohmann::json const& labels);
/// What is wrong with an API request's fields.
std::string check_fields(request const& rq, std::string const& token, bool any_client);
/// What is wrong with a usage event.
std::string check_telemetry(request const& rq);
/// The hardware list.
nlohmann::json const& hardware();

/// Answers an API request. Returns whether the connection can be used again.
bool answer_api(state& hub, connection& on, request& rq);
/// Streams; they close the connection.
void stream_logs(state& hub, connection& on, std::shared_ptr<job> const& which,
                 std::optional<std::size_t> tail);
void stream_metrics(state& hub, connection& on, std::shared_ptr<job> const& which);
/// Passes one request on to a job's agent; the body is still unread.
bool proxy(state& hub, connection& on, request& rq, std::string const& job_id);

}  // namespace hf::testing_support::fake

namespace hf::testing_support {

struct fake_hub::implementation : fake::state {
  using state::state;
};

}  // namespace hf::testing_support

#endif
