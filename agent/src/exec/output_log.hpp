#ifndef HF_SANDBOX_AGENT_EXEC_OUTPUT_LOG_HPP
#define HF_SANDBOX_AGENT_EXEC_OUTPUT_LOG_HPP

#include "exec/log_budget.hpp"
#include "exec/log_segment.hpp"
#include "exec/spill_file.hpp"

#include <hf/sandbox/wire/events.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace hf::agent {

/// One who follows a log. What it has been given counts as delivered when it says so.
class log_reader {
 public:
  /// Begins behind the record of that number.
  explicit log_reader(std::uint64_t after = 0) : next_(after + 1), sent_(after) {}

  /// Number of the next record that it wants.
  [[nodiscard]] std::uint64_t next_seq() const noexcept { return next_; }

 private:
  friend class output_log;
  std::uint64_t next_;
  std::uint64_t sent_;
  std::uint64_t sent_byte_ = 0;
  std::uint64_t read_byte_ = 0;
  // Where `next_` begins in which segment.
  std::shared_ptr<log_segment> segment_ = {};
  std::size_t offset_ = 0;
  // A segment's content, read back from the spill file.
  std::shared_ptr<log_segment> loaded_segment_ = {};
  byte_buffer loaded_ = {};
};

/// The output of one run: numbered records, the newest in memory, older ones in a spill file. Holds
/// no policy: its owner decides when to spill, to drop and to pause. On the event loop's thread.
class output_log {
 public:
  output_log(log_budget& budget, log_limits limits) : budget_(budget), limits_(limits) {}
  output_log(output_log const&) = delete;
  output_log& operator=(output_log const&) = delete;
  ~output_log() { clear(); }

  /// Adds output. It joins the last record while nobody has seen that one.
  void append(wire::output_stream stream, std::string_view bytes);
  /// Takes a number that no record has; later output begins a new record.
  std::uint64_t take_number();

  /// Number of the oldest record that is kept, or of the next one when none is.
  [[nodiscard]] std::uint64_t first_seq() const;
  [[nodiscard]] std::uint64_t last_seq() const noexcept { return next_seq_ - 1; }

  void attach(log_reader& reader);
  void detach(log_reader& reader);
  [[nodiscard]] bool has_reader() const noexcept { return !readers_.empty(); }

  enum class fetched {
    /// Records were handed over.
    records,
    /// The reader has everything.
    at_end,
    /// The next number is not a record's (`take_number`).
    other_number,
    /// The next record has to be read back: `load_next`.
    spilled,
    /// The next record is no longer kept.
    gone,
  };
  using record_sink = std::function<void(wire::output_stream, std::string_view, std::uint64_t)>;
  /// Hands records to `sink` until `enough` bytes, and moves the reader on.
  fetched fetch(log_reader& reader, std::size_t enough, record_sink const& sink);
  /// Moves the reader over a number that is not a record's.
  void skip_number(log_reader& reader) { ++reader.next_; }
  /// All that the reader was given has been delivered: frees what nobody needs any more.
  void delivered(log_reader& reader);

  /// A piece of work that may block, to be done away from the loop.
  struct disk_job {
    std::shared_ptr<spill_file> file;
    std::shared_ptr<log_segment> segment;
    byte_buffer content = {};
    bool ok = false;
    void run();
  };
  /// For `fetched::spilled`: reads a segment back. Then `loaded`.
  [[nodiscard]] disk_job load_next(log_reader const& reader) const;
  /// False when the records are lost: given up meanwhile, or the disk failed.
  bool loaded(log_reader& reader, disk_job&& job);
  /// Moves the oldest segment in memory to disk. Then `spilled`. A job without segment: there is
  /// nothing to spill, or no room on disk.
  [[nodiscard]] disk_job spill_oldest();
  void spilled(disk_job&& job);
  /// Whether a segment but the last one is in memory, and not on its way to disk.
  [[nodiscard]] bool can_spill() const;

  /// Gives up the oldest segment; false when there is none. What was never delivered counts.
  bool drop_oldest();
  /// Gives up everything.
  void clear();
  /// Gives up everything once the readers that are there have gone.
  void clear_when_unread();

  /// Bytes of output that the slowest reader has not been given yet.
  [[nodiscard]] std::uint64_t unread() const;
  /// Bytes of output that are kept and were never delivered.
  [[nodiscard]] std::uint64_t undelivered() const;
  [[nodiscard]] std::uint64_t memory() const noexcept { return memory_; }
  [[nodiscard]] std::uint64_t disk() const noexcept { return disk_; }
  [[nodiscard]] std::uint64_t dropped_bytes() const noexcept { return dropped_; }
  /// How much delivered output is kept; 0: none.
  void keep_delivered(std::uint64_t bytes) noexcept { window_ = bytes; }
  /// The longest record, and so the largest piece of memory that is dropped or spilled at once.
  void limit_segments(std::size_t bytes) noexcept { largest_segment_ = bytes; }
  [[nodiscard]] log_limits const& limits() const noexcept { return limits_; }

 private:
  log_segment& segment_for(std::size_t bytes);
  void append_piece(wire::output_stream stream, std::string_view bytes);
  [[nodiscard]] std::shared_ptr<log_segment> find(std::uint64_t seq) const;
  void pop_front();
  void trim();

  log_budget& budget_;
  log_limits limits_;
  std::deque<std::shared_ptr<log_segment>> segments_;
  std::vector<log_reader*> readers_;
  std::shared_ptr<spill_file> file_;
  std::uint64_t file_end_ = 0;
  bool disk_failed_ = false;
  /// The disk's free space has been looked at.
  bool disk_bounded_ = false;
  bool unwanted_ = false;
  bool sealed_ = false;
  std::uint64_t next_seq_ = 1;
  // Records up to here have been seen by a reader and do not change any more.
  std::uint64_t frozen_ = 0;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t delivered_seq_ = 0;
  std::uint64_t delivered_byte_ = 0;
  std::uint64_t window_ = 0;
  std::uint64_t memory_ = 0;
  std::uint64_t disk_ = 0;
  std::uint64_t dropped_ = 0;
  // Room for four of the longest records.
  std::size_t largest_segment_ = 4 * (max_record + record_header::size);
  std::size_t next_capacity_ = 1024;
};

}  // namespace hf::agent

#endif
