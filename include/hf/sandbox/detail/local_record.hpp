#ifndef HF_SANDBOX_DETAIL_LOCAL_RECORD_HPP
#define HF_SANDBOX_DETAIL_LOCAL_RECORD_HPP

#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace hf::detail {

/// What is written down about a local sandbox, beside its socket and its token.
struct local_record {
  std::map<std::string, std::string> labels = {};
  std::string isolation = {};
  /// Milliseconds since the epoch.
  std::int64_t created_ms = 0;
  /// The process outside that watches over the sandbox, and its start time in the kernel's words:
  /// a number that is used again is told apart by it. 0: the sandbox is being started.
  pid_t keeper = 0;
  std::string keeper_start = {};
  /// Directory with all that the sandbox writes.
  std::string scratch = {};
  /// Short second name of the state directory; empty: none is needed.
  std::string alias = {};
};

inline constexpr char local_record_name[] = "sandbox.json";

template <class Json = wire::json>
void write_local_record(int directory, local_record const& record) {
  Json const j = {{"labels", record.labels},
                  {"isolation", record.isolation},
                  {"created_ms", record.created_ms},
                  {"keeper", record.keeper},
                  {"keeper_start", record.keeper_start},
                  {"scratch", record.scratch},
                  {"alias", record.alias}};
  write_file_at(directory, local_record_name,
                j.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Nothing when there is none (yet) or it is damaged.
template <class Json = wire::json, class Record = local_record>
[[nodiscard]] std::optional<Record> read_local_record(int directory) {
  auto const text = read_file_at(directory, local_record_name);
  if (!text)
    return std::nullopt;
  auto const j = parse_json<Json>(*text);
  try {
    Record record;
    j.at("labels").get_to(record.labels);
    j.at("isolation").get_to(record.isolation);
    j.at("created_ms").get_to(record.created_ms);
    j.at("keeper").get_to(record.keeper);
    j.at("keeper_start").get_to(record.keeper_start);
    j.at("scratch").get_to(record.scratch);
    j.at("alias").get_to(record.alias);
    return record;
  } catch (typename Json::exception const&) {
    return std::nullopt;
  }
}

/// Where the directory of a sandbox has a short second name, when its own is too long for a socket.
template <class = void>
[[nodiscard]] std::string local_alias_path(std::string const& id) {
  return "/tmp/hf-sandbox-" + std::to_string(::geteuid()) + "/" + id;
}

template <class = void>
void make_local_alias(std::string const& alias, std::string const& target) {
  for (int attempt = 0;; ++attempt) {
    (void)open_private_directory(alias.substr(0, alias.rfind('/')), true);
    if (::symlink(target.c_str(), alias.c_str()) == 0)
      return;
    // The last sandbox of another program has just taken the directory with it.
    if (errno != ENOENT || attempt == 100)
      throw local_error("cannot make the link " + alias, errno);
  }
}

/// Removes a second name, and the directory around it when it was the last.
template <class = void>
void remove_local_alias(std::string const& alias) noexcept {
  ::unlink(alias.c_str());
  ::rmdir(alias.substr(0, alias.rfind('/')).c_str());
}

/// A process's start time as /proc says it; empty when there is no such process.
template <class = void>
[[nodiscard]] std::string process_start_time(pid_t pid) {
  std::string const path = "/proc/" + std::to_string(pid);
  unique_fd const directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto const stat = directory ? read_file_at(directory.get(), "stat") : std::nullopt;
  if (!stat)
    return {};
  // Field 22; the second one, in parentheses, may hold spaces.
  auto at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field)
    at = stat->find(' ', at + 1);
  if (at == std::string::npos)
    return {};
  return stat->substr(at + 1, stat->find(' ', at + 1) - at - 1);
}

}  // namespace hf::detail

#endif
