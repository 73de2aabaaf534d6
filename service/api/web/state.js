/** What can be read off a job. */

/** Whether it will never change again. */
export const hasEnded = (job) => ["succeeded", "failed", "cancelled"].includes(job.status);

/** What a reader calls it: its tag `name` or `label`, or its kind. */
export const label = ({ tags, kind }) => tags?.name ?? tags?.label ?? kind;

/** The share of its epochs that is done. */
export function shareDone({ status, progress }) {
  if (status === "succeeded") return 1;
  return progress?.epochs ? progress.epoch / progress.epochs : 0;
}
