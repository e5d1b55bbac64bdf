CREATE OR REPLACE TRIGGER manifest_shown BEFORE INSERT OR UPDATE OF deleted_at ON manifest FOR EACH ROW EXECUTE FUNCTION manifest_shows();

CREATE OR REPLACE TRIGGER manifest_counted AFTER INSERT ON manifest FOR EACH ROW WHEN (NEW.shown = 1) EXECUTE FUNCTION manifest_counts();

CREATE OR REPLACE TRIGGER manifest_turned AFTER UPDATE OF deleted_at, shown ON manifest FOR EACH ROW WHEN (NEW.shown IS DISTINCT FROM OLD.shown OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)) EXECUTE FUNCTION manifest_counts();

CREATE OR REPLACE TRIGGER manifest_uncounted AFTER DELETE ON manifest FOR EACH ROW WHEN (OLD.shown = 1) EXECUTE FUNCTION manifest_counts();

CREATE OR REPLACE TRIGGER tag_counted AFTER INSERT ON tag FOR EACH ROW WHEN (NEW.end_at IS NULL) EXECUTE FUNCTION tag_counts();

CREATE OR REPLACE TRIGGER tag_turned AFTER UPDATE OF end_at ON tag FOR EACH ROW WHEN ((OLD.end_at IS NULL) <> (NEW.end_at IS NULL)) EXECUTE FUNCTION tag_counts();

CREATE OR REPLACE TRIGGER tag_uncounted AFTER DELETE ON tag FOR EACH ROW WHEN (OLD.end_at IS NULL) EXECUTE FUNCTION tag_counts();

CREATE OR REPLACE TRIGGER manifest_child_counted AFTER INSERT ON manifest_child FOR EACH ROW EXECUTE FUNCTION manifest_child_counts();

CREATE OR REPLACE TRIGGER pull_stat_counted AFTER INSERT OR DELETE OR UPDATE OF pulls ON pull_stat FOR EACH ROW EXECUTE FUNCTION pull_stat_counts();

CREATE OR REPLACE TRIGGER repository_counted AFTER INSERT OR DELETE ON repository FOR EACH ROW EXECUTE FUNCTION repository_counts();

CREATE OR REPLACE TRIGGER repository_moved AFTER UPDATE OF state, deleted_at, project_id, artifacts ON repository FOR EACH ROW WHEN (OLD.artifacts <> NEW.artifacts OR CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END <> CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END OR OLD.project_id <> NEW.project_id) EXECUTE FUNCTION repository_counts();

CREATE OR REPLACE TRIGGER project_counted AFTER INSERT OR DELETE ON project FOR EACH ROW EXECUTE FUNCTION project_counts();

CREATE OR REPLACE TRIGGER project_turned AFTER UPDATE OF state, deleted_at, public, repositories ON project FOR EACH ROW WHEN (CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END <> CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END OR OLD.public <> NEW.public OR OLD.repositories <> NEW.repositories) EXECUTE FUNCTION project_counts();

CREATE OR REPLACE TRIGGER member_named BEFORE INSERT ON member FOR EACH ROW EXECUTE FUNCTION member_names();

CREATE OR REPLACE TRIGGER user_renamed AFTER UPDATE OF name ON "user" FOR EACH ROW EXECUTE FUNCTION user_names();

CREATE OR REPLACE TRIGGER user_group_renamed AFTER UPDATE OF name ON user_group FOR EACH ROW EXECUTE FUNCTION user_group_names();
