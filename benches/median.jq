def round_to($n): if . == null then null else (. * $n | round) / $n end;
def median: if length == 0 then null else sort | .[length / 2 | floor] end;
# The least and the most that the median is, with 95 % confidence: a value of so many is below the median
# as a coin falls, whatever their distribution.
def interval: sort | length as $n
    | if $n == 0 then null else ([($n / 2 - 0.98 * ($n | sqrt) | floor) - 1, 0] | max) as $low
        | [.[$low], .[$n - 1 - $low]] end;
def median_interval: if length == 0 then null else
    interval as [$low, $high] | "\(median | round_to(1000)) (\($low | round_to(1000))–\($high | round_to(1000)))" end;
