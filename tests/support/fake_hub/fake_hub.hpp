#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_FAKE_HUB_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_FAKE_HUB_HPP

#include <hf/sandbox/http/headers.hpp>

#include <nlohmann/json.hpp>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hf::testing_support {

/// What a request to the double is for.
enum class hub_route {
  any,
  whoami,
  create,
  inspect,
  list,
  cancel,
  labels,
  logs,
  metrics,
  hardware,
  download,
  telemetry,
  proxy,
  unknown
};

/// Something that goes wrong on purpose with requests of one route.
struct hub_fault {
  enum class kind {
    /// Answers with `status`, does nothing else.
    answer,
    /// Resets the connection, does nothing else.
    reset,
    /// Does what was asked, then resets the connection instead of answering.
    lose_answer,
    /// Waits for `delay`, then goes on.
    delay,
    /// Proxy only: resets the connection after `after_bytes` of the answer's body.
    cut,
  };
  hub_route where = hub_route::any;
  kind what = kind::answer;
  int status = 500;
  http::headers fields = {};
  std::string body = R"({"error":"on purpose"})";
  std::chrono::milliseconds delay{0};
  std::uint64_t after_bytes = 0;
  /// How many requests pass unharmed before, and how many are hit (negative: all).
  int skip = 0;
  int times = 1;
};

/// How the next jobs behave.
struct job_behaviour {
  enum class kind {
    normal,
    /// Prints `lines` and exits with `exit_code` instead of running its command.
    die_at_start,
    /// Stays in SCHEDULING until it is cancelled.
    never_start,
    /// Runs, but its command is replaced by one that does nothing.
    never_ready,
  };
  kind what = kind::normal;
  std::chrono::milliseconds boot_delay{0};
  std::vector<std::string> lines = {};
  int exit_code = 1;
};

struct fake_hub_options {
  /// 0: any free one.
  std::uint16_t port = 0;
  /// The agent that downloads and the emulated bucket deliver; empty: `HF_SANDBOX_AGENT`.
  std::string agent = {};
  std::string token = "hf_TestTokenThatMustNotLeak0123456789";
  std::string user = "alice";
  std::vector<std::string> organisations = {"acme"};
  /// Time that every job is SCHEDULING.
  std::chrono::milliseconds scheduling{20};
  /// Whether `exposeUrls` is known before the job runs.
  bool urls_while_scheduling = true;
  std::size_t page_size = 100;
  /// Requests to the API per window; 0: no limit.
  int rate_limit = 0;
  std::chrono::seconds rate_window{2};
  std::chrono::milliseconds keep_alive{30'000};
  /// Streams of a job that has ended go on with keep-alives.
  bool endless_streams = false;
  std::chrono::milliseconds metrics_interval{1000};
  /// The jobs' agents behave like the official one: nothing beyond the common protocol.
  bool common_protocol = false;
  /// Takes the header fields of any client, not only what the library sends.
  bool any_client = false;
  /// Namespaces and an own root for every job; without, or where it cannot be had, the agent's port
  /// and paths are rewritten.
  bool isolate = true;
  /// Called with one line per request; empty: none.
  std::function<void(std::string const&)> log = {};
};

/// A request that the double has seen.
struct seen_request {
  hub_route route = hub_route::unknown;
  std::string method;
  std::string host;
  std::string target;
  http::headers fields;
  std::string body;
  int status = 0;
  std::chrono::steady_clock::time_point at;
};

/// What is known of a job.
struct seen_job {
  std::string id;
  std::string name_space;
  std::string stage;
  std::string message;
  /// The body it was created with.
  nlohmann::json request;
  std::map<std::string, std::string> labels;
  std::vector<std::string> log;
  /// Its processes, as this system numbers them.
  std::vector<pid_t> processes;
};

/// The Hub and the Jobs proxy in one process: checks strictly what it is sent, really runs jobs.
///
/// Safe for concurrent use. The destructor kills all jobs.
class fake_hub {
 public:
  explicit fake_hub(fake_hub_options options = {});
  ~fake_hub();
  fake_hub(fake_hub const&) = delete;
  fake_hub& operator=(fake_hub const&) = delete;

  /// For `HF_ENDPOINT`: "http://127.0.0.1:<port>".
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::string token() const;
  [[nodiscard]] std::string agent_sha256() const;
  /// Where the agent can be downloaded (through a redirect), for `agent_source::url`.
  [[nodiscard]] std::string agent_url() const;
  /// Whether jobs run in namespaces of their own.
  [[nodiscard]] bool isolated() const;

  /// Delivers the agent under this digest's name too, whatever its digest is.
  void serve_agent_as(std::string const& sha256);
  /// Makes a local directory mountable.
  void add_volume(std::string const& type, std::string const& source, std::string const& directory);
  /// From now on another token is the valid one.
  void change_token(std::string const& token);
  void set_credit(bool available);
  void add_fault(hub_fault fault);
  void clear_faults();
  /// Applies to the next `jobs` jobs.
  void behave(job_behaviour how, int jobs = 1);

  /// Everything seen so far, in order.
  [[nodiscard]] std::vector<seen_request> requests(hub_route route = hub_route::any) const;
  [[nodiscard]] std::size_t count(hub_route route) const;
  void forget_requests();
  /// What was wrong with requests, one line each.
  [[nodiscard]] std::vector<std::string> violations() const;
  [[nodiscard]] std::vector<seen_job> jobs() const;
  [[nodiscard]] seen_job job(std::string const& id) const;
  /// Jobs that are scheduled or have processes.
  [[nodiscard]] std::size_t live_jobs() const;
  /// Waits until no job is alive; false after `longest`.
  [[nodiscard]] bool wait_for_no_jobs(std::chrono::milliseconds longest) const;
  /// Starts a job as another client would, without HTTP; the body as in the API. Returns its id.
  std::string start_job(nlohmann::json const& body);
  /// Ends a job as the Hub would: stage ERROR with this message.
  void fail_job(std::string const& id, std::string const& message);

 private:
  struct implementation;
  std::unique_ptr<implementation> self_;
};

}  // namespace hf::testing_support

#endif
